"""Make the shipped registry: simulate its domains, train one expert per attack together with routers and head.

    python -m tools.build_registry --base registry/base --out new-registry

The domains are those of recipes/demo.yaml, without the novel one and the null control. What is simulated stays in
work/domains.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from molex_adapt.api import EMBEDDED, PER_ATTACK, Registry, Run
from molex_adapt.base import load_base
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.data import Table, read
from molex_adapt.demo.domains import find_speech
from molex_adapt.recipe import DemoRecipe, Recipe, load
from molex_adapt.registry import BaseRecord, Store
from molex_adapt.shipped import recipe_path
from molex_adapt.simulate import Finish, make_attack, simulate

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
    demo = load(DemoRecipe, recipe_path("demo"))
    known = [name for name in demo.domains if name not in (demo.novel, NULL_DOMAIN)]
    with listening(False) as progress:
        run = Run(
            seed=options.seed,
            workers=options.workers,
            progress=progress,
            command="python -m tools.build_registry --base registry/base --out new-registry",
        )
        tables = simulate_all(demo, replace(run, seed=0))
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
            experts=PER_ATTACK,
            recipe=load(Recipe, recipe_path("shipped"), options.set),
            licence=LICENCE,
            run=run,
        )
    for domain, rates in report.after.items():
        low, high = rates.eer_ci
        print(f"{domain}: EER {100 * rates.eer:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")


def simulate_all(demo: DemoRecipe, run: Run) -> dict[str, Table]:
    """All speech, forged by every attack of the demo's recipe; bona fide recordings under BONA_FIDE."""
    speech, tables = find_speech(None), {}
    for name, domain in demo.domains.items():
        result = simulate(
            make_attack(domain.attack, domain.parameters),
            speech,
            Path("work/domains") / name,
            finish=Finish(),
            run=run,
            bona_fide=name == NULL_DOMAIN,
        )
        table = read(result.manifest)
        tables[name] = table.select(label="spoof")
        if name == NULL_DOMAIN:
            tables[BONA_FIDE] = table.select(label=BONA_FIDE)
    return tables


if __name__ == "__main__":
    main()
