"""Give the shipped experts what routers read of their domains, from the sets that `domains.py` made.

    python -m tools.wideband.routing data/domains --registry registry

Training makes these statistics by itself; this is for experts that were trained before there were any. Every file that
names another is written anew with it: the expert's record, and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from molex_adapt.atomic import replace_file
from molex_adapt.data import Table, read
from molex_adapt.digest import sha256
from molex_adapt.features import extract
from molex_adapt.registry import Store, files, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.exemplars import remembered_to_arrays
from molex_adapt.run import Run
from molex_adapt.train.remembering import HEARD, remember
from tools.wideband.domains import FAMILY


def training_rows(folder: Path, attack: str) -> Table | None:
    """A set's recordings of training voices, of both classes; None where the set was not made."""
    path = folder / f"{attack}.csv"
    if not path.is_file():
        return None
    forged = read(path)
    heard = forged.select(split="train").utterances
    sources = {item.source for item in heard}
    real = read(folder / "bonafide.csv").select(split="train")
    return Table((*heard, *(item for item in real if item.source in sources)), attack)


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domains", type=Path, help="folder that tools.wideband.domains wrote")
    parser.add_argument("--registry", type=Path, required=True)
    options = parser.parse_args()
    store, run = Store(options.registry), Run(device="cpu", precision="fp32")
    detector = build_detector(store, precision="fp32")
    for record in store.experts():
        members = [attack for attack, family in FAMILY.items() if family == record.name] or [record.name]
        found = [table for table in (training_rows(options.domains, attack) for attack in members) if table]
        if not found:
            raise SystemExit(f"{options.domains} has none of the sets of {record.name}: {', '.join(members)}")
        # As many of every attack, and of the real recordings beside each.
        each = max(2, 2 * HEARD // len(found))
        chosen = [
            item
            for table in found
            for label in ("bonafide", "spoof")
            for item in table.select(label=label).utterances[:each]
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
