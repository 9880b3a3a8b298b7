"""Make the shipped registry: simulate its domains, train one expert per attack together with routers and head.

    python tools/build_registry.py --base registry/base --out new-registry

The domains are those of recipes/demo.yaml, without the novel one and the null control.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from molex_adapt.api import EMBEDDED, Registry
from molex_adapt.base import load_base
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.data import Table, read
from molex_adapt.demo.domains import find_speech
from molex_adapt.progress import Progress
from molex_adapt.recipe import DemoRecipe, Recipe, load
from molex_adapt.registry import BaseRecord, Store
from molex_adapt.shipped import recipe_path
from molex_adapt.simulate import LastStage, make_attack, simulate

LICENCE = "cc-by-sa-3.0"
"""Of the speech that the experts were trained on, the strictest of its parts."""


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the embedded base")
    parser.add_argument("--out", type=Path, required=True, help="new registry")
    parser.add_argument(
        "--data", type=Path, default=Path("work/domains"), help="where the attacks are made, or are"
    )
    parser.add_argument("--speech", type=Path, help="folder of speech; Debian's prompts by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    demo = load(DemoRecipe, recipe_path("demo"))
    recipe = load(Recipe, recipe_path("shipped"), options.set)
    with listening(False) as progress:
        known = [name for name in demo.domains if name not in (demo.novel, NULL_DOMAIN)]
        made = make_domains(demo, known, find_speech(options.speech), options.data, options.workers, progress)
        identity = load_base(options.base).identity
        record = BaseRecord(id=EMBEDDED, revision="local", sha256=identity.sha256, embedded=True)
        registry = Registry(Store.create(options.out, record, options.base))
        report = registry.train(
            without_speaker(made, demo.held_out_speaker),
            domain="shipped",
            experts=None,
            recipe=recipe,
            seed=options.seed,
            workers=options.workers,
            licence=LICENCE,
            command="python tools/build_registry.py --base registry/base --out new-registry",
            progress=progress,
        )
    for domain, rates in report.after.items():
        print(
            f"{domain}: EER {100 * rates.eer:.1f} % [{100 * rates.eer_ci[0]:.1f}, {100 * rates.eer_ci[1]:.1f}]"
        )


def make_domains(
    demo: DemoRecipe, names: list[str], speech: Table, out: Path, workers: int, progress: Progress
) -> Table:
    """Forge all speech by the named attacks; bona fide recordings stand in the table once."""
    items = []
    for number, name in enumerate(names):
        domain = demo.domains[name]
        result = simulate(
            make_attack(domain.attack, domain.parameters),
            speech,
            out / name,
            stage=LastStage(),
            seed=0,
            workers=workers,
            progress=progress,
            bona_fide=number == 0,
        )
        items += list(read(result.manifest))
    return Table(tuple(items), str(out))


def without_speaker(table: Table, speaker: str) -> Table:
    """Everything but one voice."""
    kept = tuple(item for item in table if item.speaker != speaker)
    if not any(item.label == BONA_FIDE for item in kept):
        raise SystemExit(f"no speech is left without the voice {speaker!r}")
    return Table(kept, table.root)


if __name__ == "__main__":
    main()
