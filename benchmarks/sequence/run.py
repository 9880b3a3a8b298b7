"""One cell: one method learns all domains in one order, and is measured on every domain after every step."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.plan import Cell, Plan
from benchmarks.sequence.domains import Domains, make_domains
from benchmarks.sequence.methods import METHODS, Method, Setting
from benchmarks.sequence.settings import Settings
from molex_adapt.atomic import replacing
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.metrics import eer_threshold
from molex_adapt.progress import Progress
from molex_adapt.run import Run

_NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class CellScores:
    """What a cell found.

    Attributes:
        order: domains as they were learnt.
        scores: (T, N) after each step, of `Domains.known`; NaN rows where a method was not measured.
        held_out: (M,) after the last step, of `Domains.held_out`.
        threshold: frozen after the first step, on the first domain's development split.
        steps: per step, `Learnt` and its seconds.
    """

    order: list[str]
    scores: NDArray[np.float32]
    held_out: NDArray[np.float32]
    threshold: float
    steps: list[dict[str, Any]]


def prepare(plan: Plan, speech: Path | None, work: Path, run: Run) -> Domains:
    """The plan's data under its base; float32, as all other measurements."""
    settings = plan.settings_as(Settings)
    detector = Detector(load_base(settings.base), plan.resolved(""))
    return make_domains(settings, speech, work, detector, run)


def run_cell(
    cell: Cell, plan: Plan, domains: Domains, progress: Progress, resume: Path | None = None
) -> CellScores:
    """Learn and measure.

    After every step all that is needed to go on is written to `resume`, and read from there when it exists.
    """
    settings, (number, seed) = plan.settings_as(Settings), (int(argument) for argument in cell.arguments)
    order = settings.order(number)
    recipe = plan.resolved(cell.method)
    setting = Setting(settings.base, recipe, len(order), seed, progress)
    method = METHODS[cell.method.partition("+")[0]](setting)
    nothing = np.full((len(order), len(domains.known.features)), np.nan, dtype=np.float32)
    run = CellScores(order, nothing, _NONE, 0.0, [])
    if resume is not None and resume.exists():
        method, run = torch.load(resume, weights_only=False)
    for step, name in list(enumerate(order))[len(run.steps) :]:
        started = time.monotonic()
        learnt = method.learn(name, domains.data[name])
        taken = time.monotonic() - started
        if cell.method != "joint" or step in (0, len(order) - 1):
            run.scores[step] = method.scores(domains.known)
        if step == 0:
            run = replace(run, threshold=_threshold(method, domains, name))
        run.steps.append({"seconds": round(taken, 1), **vars(learnt)})
        print(f"{cell.name} {step + 1}/{len(order)} {name} {taken:.0f} s", flush=True)
        if resume is not None:
            _keep_state(resume, (method, run))
    if domains.held_out is not None and len(domains.held_out.features):
        run = replace(run, held_out=method.scores(domains.held_out).astype(np.float32))
    return run


def _threshold(method: Method, domains: Domains, name: str) -> float:
    first = domains.development[name]
    found = method.scores(first)
    return float(eer_threshold(found[first.bona_fide], found[~first.bona_fide]))


def _keep_state(path: Path, state: tuple[Method, CellScores]) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save(state, file, pickle_module=cloudpickle)


def save_run(run: CellScores, path: Path) -> None:
    """Write a cell, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"order": run.order, "threshold": run.threshold, "steps": run.steps})
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, scores=run.scores, held_out=run.held_out, about=np.array(about))


def load_run(path: Path) -> CellScores:
    """Read a cell."""
    with np.load(path, allow_pickle=False) as found:
        about = json.loads(str(found["about"]))
        return CellScores(
            about["order"], found["scores"], found["held_out"], about["threshold"], about["steps"]
        )
