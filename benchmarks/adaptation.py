"""Leave one domain out, add it as an expert, and compare with what else one could do.

    python -m benchmarks.adaptation --base registry/base --novel griffin_lim --seed 0

Trains a mixture on all other domains, measures, adds an expert by both ways, and trains one LoRA with a head of its own
on the novel domain alone, with the same number of steps. Writes results/adaptation-NOVEL-SEED.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks.workbench import (
    RESULTS,
    Workbench,
    adaptation_recipe,
    demo_recipe,
    detector_on,
    figures,
    percent,
    set_up,
)
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.detector import Detector
from molex_adapt.progress import Progress
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run
from molex_adapt.train.adapt import add_expert, train_first
from molex_adapt.train.old import OldDomain

Result: TypeAlias = dict[str, Any]


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, default=Path("registry/base"))
    parser.add_argument("--novel", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=["inside", "alone"])
    parser.add_argument(
        "--no-single", action="store_true", help="leave out the LoRA trained on the novel domain alone"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = list(demo_recipe().domains)
    known = [name for name in names if name not in (options.novel, NULL_DOMAIN)]
    recipe = adaptation_recipe(options.set)
    with listening(False) as progress:
        bench = set_up(options.base, names, recipe, options.workers, progress)
        result = run(options.base, bench, known, options.novel, recipe, options.seed, options, progress)
    out = options.out or RESULTS / f"adaptation-{options.novel}-{options.seed}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    for kind in ("known_voices", "held_out_voice"):
        for state, rates in result[kind].items():
            print(kind, state, {name: percent(item) for name, item in rates.items()})
    print(result["seconds"])


def run(
    base: Path,
    bench: Workbench,
    known: list[str],
    novel: str,
    recipe: Recipe,
    seed: int,
    options: argparse.Namespace,
    progress: Progress,
) -> Result:
    """All states of one run: before, after each way, the single LoRA."""
    detector = detector_on(base, recipe)
    first = train_first(
        detector, {name: bench.domains[name] for name in known}, recipe, Run(seed=seed, progress=progress)
    )
    result: Result = {"novel": novel, "known": known, "seed": seed, "known_voices": {}, "held_out_voice": {}}
    result["seconds"] = {"joint": first.seconds["expert"]}
    _measure(result, "before", detector, bench, known)
    old = {name: OldDomain(name, first.exemplars[name]) for name in known}
    for way in options.ways:
        steps = recipe.model_copy(update={"expert": recipe.expert.model_copy(update={"way": way})})
        with restored(detector):
            added = add_expert(
                detector,
                novel,
                novel,
                bench.domains[novel],
                old,
                first.threshold,
                steps,
                Run(seed=seed, progress=progress),
            )
            _measure(result, way, detector, bench, known)
            result["seconds"][way] = added.seconds
            result.setdefault("stages", {})[way] = {name: vars(stage) for name, stage in added.stages.items()}
            result.setdefault("refused", {})[way] = added.refused
    if not options.no_single:
        started = time.monotonic()
        single = detector_on(base, recipe)
        joint = recipe.joint.model_copy(
            update={"steps": recipe.expert.steps, "batch_size": recipe.expert.batch_size}
        )
        alone = recipe.model_copy(update={"joint": joint})
        train_first(single, {novel: bench.domains[novel]}, alone, Run(seed=seed, progress=progress))
        _measure(result, "single_lora", single, bench, known)
        result["seconds"]["single_lora"] = time.monotonic() - started
    return result


def _measure(result: Result, state: str, detector: Detector, bench: Workbench, known: list[str]) -> None:
    result["known_voices"][state] = figures(detector, bench.known, known)
    result["held_out_voice"][state] = figures(detector, bench.held_out, known)


@contextmanager
def restored(detector: Detector) -> Iterator[None]:
    """Afterwards the detector is as it was: without what was added, rows, head and calibration as they were."""
    names, calibration = detector.mixture.names, detector.calibration

    def shared() -> list[torch.Tensor]:
        rows = [row for name in names for row in detector.mixture.router_rows(name)]
        return [weight.detach() for weight in (*rows, *detector.head.parameters())]

    before = [weight.clone() for weight in shared()]
    try:
        yield
    finally:
        for name in [name for name in detector.mixture.names if name not in names]:
            detector.mixture.remove(name)
        detector.calibration = calibration
        for weight, value in zip(shared(), before, strict=True):
            weight.copy_(value)


if __name__ == "__main__":
    main()
