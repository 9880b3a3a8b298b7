"""Make the shipped registry: simulate its domains, train one expert per attack together with routers and head.

    python -m tools.build_registry --base registry/base --out new-registry

The domains are those of recipes/demo.yaml, without the novel one and the null control. What is simulated stays in
work/domains, for the measurements under benchmarks/ as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.workbench import demo_recipe, simulate_all
from molex_adapt.api import EMBEDDED, Registry, Run
from molex_adapt.base import load_base
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.data import Table
from molex_adapt.recipe import Recipe, load
from molex_adapt.registry import BaseRecord, Store
from molex_adapt.shipped import recipe_path

LICENCE = "cc-by-sa-3.0"
"""Of the speech that the experts were trained on, the strictest of its parts."""


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the embedded base")
    parser.add_argument("--out", type=Path, required=True, help="new registry")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    demo = demo_recipe()
    known = [name for name in demo.domains if name not in (demo.novel, NULL_DOMAIN)]
    with listening(False) as progress:
        tables = simulate_all(options.workers, progress)
        heard = [
            item
            for name in (BONA_FIDE, *known)
            for item in tables[name]
            if item.speaker != demo.held_out_speaker
        ]
        identity = load_base(options.base).identity
        record = BaseRecord(id=EMBEDDED, revision="local", sha256=identity.sha256, embedded=True)
        report = Registry(Store.create(options.out, record, options.base)).train(
            Table(tuple(heard), "work/domains"),
            domain="shipped",
            experts=None,
            recipe=load(Recipe, recipe_path("shipped"), options.set),
            licence=LICENCE,
            run=Run(
                seed=options.seed,
                workers=options.workers,
                progress=progress,
                command="python -m tools.build_registry --base registry/base --out new-registry",
            ),
        )
    for domain, rates in report.after.items():
        low, high = rates.eer_ci
        print(f"{domain}: EER {100 * rates.eer:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")


if __name__ == "__main__":
    main()
