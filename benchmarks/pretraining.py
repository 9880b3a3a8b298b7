"""What each part of pretraining gives: bases that differ in one thing, with the same steps, speech and seed.

    python -m benchmarks.pretraining --steps 600
    python -m benchmarks.base --base work/pretraining/mfcc --name mfcc       (and so on)

Writes work/pretraining/NAME, and what they came to into results/pretraining.json; `benchmarks.base` measures each.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.workbench import RESULTS, WORK
from molex_adapt.cli.progress import listening
from molex_adapt.demo.domains import find_speech
from molex_adapt.pretrain.run import fit, prepare
from molex_adapt.pretrain.targets import Targets, make_targets
from molex_adapt.recipe import PretrainRecipe, load
from molex_adapt.shipped import recipe_path

EVERYTHING = ("mfcc", "former_units", "teacher")
VARIANTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "mfcc": (("mfcc",), False),
    "teacher": (("teacher",), False),
    "mfcc-teacher": (("mfcc", "teacher"), False),
    "mfcc-teacher-degraded": (("mfcc", "teacher"), True),
    "second-round": (("former_units", "teacher"), True),
}
"""Per name the targets, and whether a fifth of the crops is degraded."""


def main() -> None:
    """Read the command line, train every variant that is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--former", type=Path, default=Path("registry/base"), help="base of the first round")
    options = parser.parse_args()
    shipped = load(PretrainRecipe, recipe_path("embedded"))
    recipe = shipped.model_copy(
        update={"steps": options.steps, "targets": EVERYTHING, "former_base": options.former}
    )
    kept = RESULTS / "pretraining.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    with listening(False) as progress:
        streams, training = prepare(find_speech(None), recipe, options.seed, progress)
        everything = make_targets(streams, recipe, training, progress)
        for name, (targets, degraded) in VARIANTS.items():
            if (WORK / "pretraining" / name).exists():
                continue
            share = shipped.degraded_share if degraded else 0.0
            variant = recipe.model_copy(update={"targets": targets, "degraded_share": share})
            made = fit(
                streams,
                training,
                _chosen(everything, targets),
                WORK / "pretraining" / name,
                variant,
                options.seed,
                progress,
                time.monotonic(),
            )
            results[name] = asdict(made) | {"folder": name}
            kept.write_text(json.dumps(results, indent=1) + "\n")


def _chosen(everything: Targets, names: tuple[str, ...]) -> Targets:
    books = [at for at, name in enumerate(EVERYTHING[:-1]) if name in names]
    return Targets(
        [units[:, books] for units in everything.units],
        everything.layers if "teacher" in names else [torch.empty(len(x), 0, 0) for x in everything.layers],
        tuple(everything.codebook_sizes[at] for at in books),
    )


if __name__ == "__main__":
    main()
