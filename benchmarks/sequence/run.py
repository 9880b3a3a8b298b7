"""One cell: one method learns all domains in one order, and is measured on every domain after every step."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sequence.domains import Domains, make_domains
from benchmarks.sequence.methods import METHODS, Method, Setting
from benchmarks.sequence.plan import Cell, Plan
from benchmarks.workbench import adaptation_recipe
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.metrics import eer_threshold
from molex_adapt.progress import Progress
from molex_adapt.recipe import Recipe

_NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Run:
    """What a cell found.

    Attributes:
        cell: which.
        order: domains as they were learnt.
        scores: (T, N) after each step, of `Domains.known`; NaN rows where a method was not measured.
        held_out: (M,) after the last step, of `Domains.held_out`.
        threshold: frozen after the first step, on the first domain's development split.
        steps: per step, `Learnt`, seconds by the clock and of the processor.
        overrides: options of a variant.
    """

    cell: Cell
    order: list[str]
    scores: NDArray[np.float32]
    held_out: NDArray[np.float32]
    threshold: float
    steps: list[dict[str, Any]]
    overrides: list[str] = field(default_factory=list)


def plan_recipe(plan: Plan, overrides: list[str]) -> Recipe:
    """The shipped recipe at the plan's budget: expert and router stage together have the plan's steps."""
    budget = [
        f"joint.steps={plan.steps}",
        f"joint.batch_size={plan.batch_size}",
        f"expert.batch_size={plan.batch_size}",
        f"router_stage.batch_size={plan.batch_size}",
        "exemplars.check=0",
    ]
    recipe = adaptation_recipe([*budget, *overrides])
    routers = min(recipe.router_stage.steps, plan.steps - 1) if recipe.expert.routers_follow else 0
    return recipe.model_copy(
        update={"expert": recipe.expert.model_copy(update={"steps": plan.steps - routers})}
    )


def prepare(
    plan: Plan, speech: Path | None, base: Path, work: Path, workers: int, progress: Progress
) -> Domains:
    """The plan's data under a base; float32, as all other measurements."""
    detector = Detector(load_base(base), adaptation_recipe([]))
    return make_domains(plan, speech, work, detector, workers, progress)


def run_cell(
    cell: Cell,
    plan: Plan,
    domains: Domains,
    base: Path,
    progress: Progress,
    resume: Path | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """Learn and measure.

    After every step all that is needed to go on is written to `resume`, and read from there when it exists.
    """
    order = plan.order(cell.order)
    variant = plan.overrides(cell.method)
    method = METHODS[cell.method.partition("+")[0]](
        Setting(base, plan_recipe(plan, [*variant, *overrides]), plan, cell.seed, progress)
    )
    run = Run(
        cell,
        order,
        np.full((len(order), len(domains.known.features)), np.nan, dtype=np.float32),
        _NONE,
        0.0,
        [],
        variant,
    )
    if resume is not None and resume.exists():
        method, run = torch.load(resume, weights_only=False)
    for number, name in list(enumerate(order))[len(run.steps) :]:
        started, busy = time.monotonic(), time.process_time()
        learnt = method.learn(name, domains.data[name])
        taken, busy = time.monotonic() - started, time.process_time() - busy
        if cell.method != "joint" or number in (0, len(order) - 1):
            run.scores[number] = method.scores(domains.known)
        if number == 0:
            first = domains.development[name]
            found = method.scores(first)
            run = replace(
                run, threshold=float(eer_threshold(found[first.bona_fide], found[~first.bona_fide]))
            )
        run.steps.append(
            {"domain": name, "seconds": round(taken, 1), "cpu_seconds": round(busy, 1), **vars(learnt)}
        )
        print(f"{cell.name} {number + 1}/{len(order)} {name} {taken:.0f} s", flush=True)
        if resume is not None:
            _keep_state(resume, (method, run))
    if domains.held_out is not None and len(domains.held_out.features):
        run = replace(run, held_out=method.scores(domains.held_out).astype(np.float32))
    return run


def _keep_state(path: Path, state: tuple[Method, Run]) -> None:
    partial = path.with_suffix(".partial-state")
    torch.save(state, partial, pickle_module=cloudpickle)
    os.replace(partial, path)


def save_run(run: Run, folder: Path) -> None:
    """Write a cell, all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "cell": run.cell.model_dump(),
        "order": run.order,
        "threshold": run.threshold,
        "steps": run.steps,
        "overrides": run.overrides,
    }
    path = folder / f"{run.cell.name}.npz"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, scores=run.scores, held_out=run.held_out, about=np.array(json.dumps(about)))
    os.replace(partial, path)


def load_run(path: Path) -> Run:
    """Read a cell."""
    with np.load(path, allow_pickle=False) as found:
        about = json.loads(str(found["about"]))
        scores, held_out = found["scores"], found["held_out"]
    cell = Cell.model_validate(about["cell"])
    return Run(
        cell, about["order"], scores, held_out, about["threshold"], about["steps"], about.get("overrides", [])
    )
