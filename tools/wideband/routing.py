"""Give the shipped experts what routers read of their domains, from the sets that `domains.py` made.

    python -m tools.wideband.routing data/domains data/spoken --registry registry --experts synthesiser

Training makes these statistics by itself; this is for experts that were trained before there were any, or that were
trained on more sets than were at hand then. Every file that names another is written anew with it: the expert's record,
and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from molex_adapt.atomic import replace_file
from molex_adapt.data import Table, Utterance, read
from molex_adapt.digest import sha256
from molex_adapt.features import extract
from molex_adapt.registry import Store, files, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.exemplars import remembered_to_arrays
from molex_adapt.run import Run
from molex_adapt.train.remembering import HEARD, remember
from tools.wideband.domains import FAMILY, FROM_TEXTS


def training_rows(folders: Sequence[Path], attack: str) -> Table | None:
    """A set's forged recordings of training voices, and the real ones they were made of; None where it was not made.

    Beside speech that was made of texts stand all of them.
    """
    heard = [
        item
        for folder in folders
        if (folder / f"{attack}.csv").is_file()
        for item in read(folder / f"{attack}.csv").select(split="train")
    ]
    if not heard:
        return None
    real = read(folders[0] / "bonafide.csv").select(split="train").utterances
    sources = {item.source for item in heard}
    beside = [item for item in real if attack in FROM_TEXTS or item.source in sources]
    return Table((*heard, *beside), attack)


def evenly(items: Sequence[Utterance], most: int) -> Sequence[Utterance]:
    """At most so many, evenly spaced, so that they are of all voices."""
    return items[:: -(-len(items) // most)] if items else items


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "domains", type=Path, nargs="+", help="folders of sets; bonafide.csv lies in the first"
    )
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--experts", nargs="+", metavar="NAME", help="of these alone")
    options = parser.parse_args()
    store, run = Store(options.registry), Run(device="cpu", precision="fp32")
    detector = build_detector(store, precision="fp32")
    records = store.experts()
    names = [record.name for record in records]
    if unknown := set(options.experts or ()) - set(names):
        parser.error(f"no expert {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for record in records:
        if record.name not in (options.experts or names):
            continue
        members = [attack for attack, family in FAMILY.items() if family == record.name] or [record.name]
        found = [table for table in (training_rows(options.domains, attack) for attack in members) if table]
        if not found:
            folders = ", ".join(str(folder) for folder in options.domains)
            raise SystemExit(f"{folders}: none of the sets of {record.name} ({', '.join(members)})")
        # As many of every attack, and of the real recordings beside each.
        each = max(2, 2 * HEARD // len(found))
        chosen = [
            item
            for table in found
            for label in ("bonafide", "spoof")
            for item in evenly(table.select(label=label).utterances, each)
        ]
        features = extract(detector, Table(tuple(dict.fromkeys(chosen)), record.name), run)[0]
        routing = files.dump_tensors(
            remembered_to_arrays(remember(detector, features, detector.recipe.data.crop_seconds))
        )
        folder = layout.expert_folder(store.path, record.name)
        replace_file(folder / layout.ROUTING, routing)
        renewed = record.model_copy(update={"routing_sha256": sha256(routing)})
        replace_file(folder / layout.EXPERT, files.dump_record(renewed))
        print(f"{record.name}: {len(features)} recordings, {len(routing) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
