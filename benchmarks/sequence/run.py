"""One cell: one method learns all attacks in one order, and is measured on each after its own step, on all at the end.

T steps, N utterances of the test, M bona fide ones of the development splits.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.plan import Cell, Plan
from benchmarks.sequence.domains import Domains, make_domains
from benchmarks.sequence.experts import experts_of
from benchmarks.sequence.methods import METHODS, TOGETHER, Method, Setting
from benchmarks.sequence.methods.ours import Ours
from benchmarks.sequence.settings import Settings
from molex_adapt.atomic import replacing
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.progress import Progress
from molex_adapt.run import Run

APART = "alone"
"""Its detectors are measured on everything after every step, for `averaged` is made of them."""


@dataclass(frozen=True)
class CellScores:
    """What a cell found.

    Attributes:
        order: domains as they were learnt.
        test: (T, N) float32 scores after each step, NaN where nothing was measured.
        development: (T, M) float32, the same.
        steps: per step so far, `Learnt` and its seconds.
        experts: what each expert does in the end, of the methods that have some; see `experts.experts_of`.
    """

    order: list[str]
    test: NDArray[np.float32]
    development: NDArray[np.float32]
    steps: list[dict[str, Any]]
    experts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def empty(cls, order: list[str], domains: Domains) -> Self:
        """Nothing measured."""
        test, development = (
            np.full((len(order), len(measured.paths)), np.nan, dtype=np.float32)
            for measured in (domains.test, domains.development)
        )
        return cls(order, test, development, [])

    @property
    def whole(self) -> bool:
        """Whether all steps are done."""
        return len(self.steps) == len(self.order)


def prepare(plan: Plan, folder: Path, work: Path, run: Run) -> Domains:
    """The plan's data under its base; float32, as all other measurements."""
    settings = plan.settings_as(Settings)
    detector = Detector(load_base(settings.base), plan.resolved(""))
    return make_domains(settings, folder, work, detector, run)


def run_cell(
    cell: Cell, plan: Plan, domains: Domains, progress: Progress, resume: Path | None = None
) -> CellScores:
    """Learn and measure.

    After every step all that is needed to go on is written to `resume`, and read from there when it exists.
    """
    settings, (number, seed) = plan.settings_as(Settings), (int(argument) for argument in cell.arguments)
    order = settings.order(number)
    recipe = plan.resolved(cell.method)
    method = METHODS[cell.method.partition("+")[0]](
        Setting(settings.base, recipe, len(order), seed, progress, settings.keep)
    )
    run = CellScores.empty(order, domains)
    if resume is not None and resume.exists():
        run, state = load_run(resume)
        method.go_on(state, [(name, domains.data[name]) for name in order[: len(run.steps)]])
    for step, name in list(enumerate(order))[len(run.steps) :]:
        started = time.monotonic()
        learnt = method.learn(name, domains.data[name])
        run.steps.append({"seconds": round(time.monotonic() - started, 1), **vars(learnt)})
        _measure(cell.method, method, run, domains)
        print(f"{cell.name} {step + 1}/{len(order)} {name} {run.steps[-1]['seconds']:.0f} s", flush=True)
        if resume is not None:
            save_run(run, resume, method.state())
    if isinstance(method, Ours):
        run.experts.update(experts_of(method.detector, domains.test))
    return run


def _measure(name: str, method: Method, run: CellScores, domains: Domains) -> None:
    """After the last step of a run so far: everything, or what its own domain needs."""
    step = len(run.steps) - 1
    everything = name == APART or run.whole
    if name in TOGETHER and not run.whole:  # of the first domain alone
        return
    for measured, scores in ((domains.test, run.test), (domains.development, run.development)):
        if everything:
            scores[step] = method.scores(measured)
        elif scores is run.test or step == 0:
            rows = measured.sets[run.order[step]]
            scores[step, rows] = method.scores(measured.pick(rows))


def save_run(run: CellScores, path: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write a cell and the state of its method, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"test": torch.from_numpy(run.test), "development": torch.from_numpy(run.development)}
    # Tensors that share memory are written apart.
    arrays |= {f"state.{name}": value.clone().contiguous() for name, value in (state or {}).items()}
    with replacing(path) as partial:
        about = {"order": run.order, "steps": run.steps, "experts": run.experts}
        save_file(arrays, partial, {"cell": json.dumps(about)})


def load_run(path: Path) -> tuple[CellScores, dict[str, Tensor]]:
    """Read a cell and the state of its method."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["cell"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = {name[6:]: value for name, value in arrays.items() if name.startswith("state.")}
    scores = arrays["test"].numpy(), arrays["development"].numpy()
    return CellScores(about["order"], *scores, about["steps"], about["experts"]), state
