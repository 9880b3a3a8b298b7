"""The training loop: steps, schedule, early stopping on the development split. It keeps the best weights.

A stage says what moves and towards what; `fit` moves it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molex_adapt.detector import Detector
from molex_adapt.errors import MolexError
from molex_adapt.processes import are_several, from_first
from molex_adapt.progress import Progress
from molex_adapt.recipe import StageOptions
from molex_adapt.run import Run
from molex_adapt.schedule import warmup_cosine
from molex_adapt.train.checkpoints import Checkpoints, StageState, Standing
from molex_adapt.train.parts import differentiate_in_parts
from molex_adapt.train.pools import Batch, Sampler

WEIGHT_DECAY = 1e-2
WARMUP = 0.05
"""Share of the steps in which the learning rates rise. Afterwards they fall as a cosine."""
GRADIENT_CLIP = 1.0
EPSILON = 1e-6
"""Of AdamW. Experts that change nothing yet leave a relative head with gradients that are rounding (1e-8 to 1e-7);
with the usual 1e-8 its first steps would be as long as any, at random."""


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that share a learning rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float


@dataclass(frozen=True)
class Stage:
    """What moves, on which data, towards what; `name` is that of its checkpoint and in messages.

    `groups` are the weights in training, all others stay as they are. The loss of a batch is a scalar; the development
    loss, in nats, decides early stopping: after so many evaluations (`patience`) without an improvement by more than
    `least`. The weights at the start compete with the later ones only if `start_competes`.
    """

    name: str
    groups: Sequence[ParameterGroup]
    sampler: Sampler
    loss: Callable[[Batch], Tensor]
    development_loss: Callable[[], float]
    options: StageOptions
    patience: int
    least: float = 0.0
    start_competes: bool = True


@dataclass(frozen=True)
class Fitted:
    """How a stage went: losses of the development split in nats, wall-clock seconds.

    `best_step` is the step whose weights were kept; 0 for those before the stage.
    """

    steps: int
    best_step: int
    loss_before: float
    loss_best: float
    seconds: float


def fit(detector: Detector, stage: Stage, run: Run = Run(), checkpoints: Checkpoints | None = None) -> Fitted:
    """Train the weights of a stage and nothing else. At the end they are the best of all evaluated that compete.

    Several processes compute a part of every batch each, and take the same steps.

    Raises:
        MolexError: the loss is not finite.
        RegistryError: the checkpoint to resume from is damaged.
    """
    started = time.monotonic()
    options, checkpoints = stage.options, checkpoints or Checkpoints()
    state = _at_start(detector, stage)
    with run.drawing(detector.device), _trainable(detector, state, run.progress):
        if not checkpoints.resume(stage.name, state):
            state.standing.before = state.standing.best = developed(stage)
            if options.steps and not stage.start_competes:
                state.standing.best = sys.float_info.max  # checkpoints hold finite numbers
        standing, earlier = state.standing, state.standing.seconds
        run.progress.start(f"{stage.name} stage", options.steps)
        if standing.step:
            run.progress.advance(standing.step)
        unread: list[Tensor] = []
        while standing.step < options.steps and standing.waited < stage.patience:
            detector.train()
            _differentiate(detector, stage, run.micro_batch, unread)
            torch.nn.utils.clip_grad_norm_(state.trained, GRADIENT_CLIP)
            state.optimiser.step()
            state.optimiser.zero_grad(set_to_none=True)
            state.schedule.step()
            run.progress.advance()
            standing.step += 1
            if standing.step % options.evaluate_every == 0 or standing.step == options.steps:
                _require_finite(stage, unread)
                _judge(state, developed(stage), stage.least)
            standing.seconds = earlier + time.monotonic() - started
            checkpoints.offer(stage.name, state)
        standing.seconds = earlier + time.monotonic() - started
        checkpoints.keep(stage.name, state)
    return Fitted(standing.step, standing.best_step, standing.before, standing.best, standing.seconds)


def _at_start(detector: Detector, stage: Stage) -> StageState:
    options = stage.options
    trained = [parameter for group in stage.groups for parameter in group.parameters]
    optimiser = torch.optim.AdamW(
        [{"params": list(group.parameters), "lr": group.learning_rate} for group in stage.groups],
        weight_decay=WEIGHT_DECAY,
        eps=EPSILON,
    )
    schedule = warmup_cosine(optimiser, options.steps, WARMUP)
    standing = Standing(math.nan, math.nan)
    return StageState(trained, _copy(trained), optimiser, schedule, stage.sampler, standing, detector.device)


@contextmanager
def _trainable(detector: Detector, state: StageState, progress: Progress) -> Iterator[None]:
    """Let the weights learn; whatever happens, the best of them stay and learn no more."""
    for parameter in state.trained:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        _restore(state.trained, state.kept)
        for parameter in state.trained:
            parameter.requires_grad_(False)
        detector.eval()
        progress.stop()


def developed(stage: Stage) -> float:
    """The development loss; of several processes, the one that the first found decides for all."""
    found = stage.development_loss()
    return from_first(lambda: found)


def _judge(state: StageState, now: float, least: float) -> None:
    standing = state.standing
    standing.waited = 0 if now < standing.best - least else standing.waited + 1
    if now < standing.best:
        standing.best, standing.best_step = now, standing.step
        state.kept = _copy(state.trained)


def _differentiate(detector: Detector, stage: Stage, most: int | None, unread: list[Tensor]) -> None:
    """Draw, and differentiate the loss; it is read one step later, when a GPU had the time of a draw to finish it."""
    batch = stage.sampler.draw(detector.device)
    _require_finite(stage, unread)
    if most is not None or are_several():
        weights = [weight for group in stage.groups for weight in group.parameters]
        unread.append(differentiate_in_parts(detector, batch, stage.loss, weights, most))
        return
    value = stage.loss(batch)
    value.backward()
    unread.append(value.detach())


def _require_finite(stage: Stage, unread: list[Tensor]) -> None:
    while unread:
        value = float(unread.pop())
        if not math.isfinite(value):
            key = "training.router_learning_rate" if stage.name == "router" else f"{stage.name}.learning_rate"
            rate = stage.groups[0].learning_rate
            raise MolexError(
                f"the {stage.name} stage diverged: the loss became {value} at learning rate {rate:g}. "
                f"Lower it, e.g. --set {key}={rate / 3:.1g}"
            )


def _copy(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


@torch.no_grad()
def _restore(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
