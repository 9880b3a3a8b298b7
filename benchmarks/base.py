"""Does pretraining pay? The shipped domains, trained jointly on the embedded base and on random weights.

    python -m benchmarks.base --base registry/base --seed 0
    python -m benchmarks.base --random --seed 0

Everything but the base's weights is equal. Writes results/base-{embedded,random}-SEED.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks.workbench import (
    RESULTS,
    WORK,
    adaptation_recipe,
    demo_recipe,
    detector_on,
    figures,
    percent,
    set_up,
)
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.pretrain.run import save_untrained
from molex_adapt.recipe import PretrainRecipe, load
from molex_adapt.run import Run
from molex_adapt.shipped import recipe_path
from molex_adapt.train.adapt import train_first


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, default=Path("registry/base"))
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--name", help="of the result; embedded or random by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    demo, recipe = demo_recipe(), adaptation_recipe(options.set)
    known = [name for name in demo.domains if name not in (demo.novel, NULL_DOMAIN)]
    base = options.base
    if options.random:
        base = WORK / f"random-{options.seed}"
        save_untrained(base, load(PretrainRecipe, recipe_path("embedded")), options.seed)
    with listening(False) as progress:
        bench = set_up(base, list(demo.domains), recipe, options.workers, progress)
        detector = detector_on(base, recipe)
        torch.manual_seed(options.seed)
        train_first(
            detector,
            {name: bench.domains[name] for name in known},
            recipe,
            Run(seed=options.seed, progress=progress),
        )
    result = {
        "known": known,
        "seed": options.seed,
        "known_voices": figures(detector, bench.known, known),
        "held_out_voice": figures(detector, bench.held_out, known),
    }
    name = options.name or ("random" if options.random else "embedded")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"base-{name}-{options.seed}.json").write_text(json.dumps(result, indent=1) + "\n")
    print({key: percent(rates) for key, rates in result["known_voices"].items()})


if __name__ == "__main__":
    main()
