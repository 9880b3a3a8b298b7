"""The one training loop: steps, schedule, early stopping on the development split, best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molex_adapt.detector import Detector
from molex_adapt.errors import MolexError
from molex_adapt.recipe import StageOptions
from molex_adapt.run import Run
from molex_adapt.schedule import warmup_cosine
from molex_adapt.train.checkpoints import Checkpoints, StageState, Standing
from molex_adapt.train.pools import Batch, Sampler


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that share a learning rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float


@dataclass(frozen=True)
class Fitted:
    """How a stage went; losses are of the development split.

    Attributes:
        steps: taken.
        best_step: whose weights were kept; 0 for those before the stage.
        loss_before, loss_best: balanced logistic loss in nats.
        seconds: wall-clock.
    """

    steps: int
    best_step: int
    loss_before: float
    loss_best: float
    seconds: float


def fit(
    detector: Detector,
    groups: Sequence[ParameterGroup],
    sampler: Sampler,
    loss: Callable[[Batch], Tensor],
    development_loss: Callable[[], float],
    options: StageOptions,
    label: str,
    run: Run = Run(),
    checkpoints: Checkpoints | None = None,
    generators: Sequence[torch.Generator] = (),
) -> Fitted:
    """Train the given weights and nothing else; on return they are the best of all evaluated, including the start.

    Args:
        detector, groups, sampler, loss, development_loss, options: what is trained, on what, towards what, and how.
        label: of the stage; its first word names its checkpoint.
        run: who listens.
        checkpoints: where the stage leaves its state, and goes on from it; None keeps none.
        generators: what the loss draws from besides torch's own random numbers.

    Raises:
        MolexError: the loss is not finite.
        RegistryError: the checkpoint to go on from is damaged.
    """
    started = time.monotonic()
    checkpoints = checkpoints or Checkpoints()
    trained = [parameter for group in groups for parameter in group.parameters]
    optimiser = torch.optim.AdamW(
        [{"params": list(group.parameters), "lr": group.learning_rate} for group in groups],
        weight_decay=options.weight_decay,
    )
    schedule = warmup_cosine(optimiser, options.steps, options.warmup)
    start = Standing(math.nan, math.nan)
    state = StageState(
        trained, _copy(trained), optimiser, schedule, sampler, start, detector.device, generators
    )
    stage = label.partition(" ")[0]
    if not checkpoints.resume(stage, state):
        start.before = start.best = development_loss()
    standing, earlier = state.standing, state.standing.seconds
    for parameter in trained:
        parameter.requires_grad_(True)
    run.progress.start(label, options.steps)
    if standing.step:
        run.progress.advance(standing.step)
    try:
        while standing.step < options.steps and standing.waited < options.patience:
            _step(detector, trained, sampler, loss, optimiser, options)
            schedule.step()
            run.progress.advance()
            standing.step += 1
            if standing.step % options.evaluate_every == 0 or standing.step == options.steps:
                _judge(state, development_loss())
            standing.seconds = earlier + time.monotonic() - started
            checkpoints.offer(stage, state)
        standing.seconds = earlier + time.monotonic() - started
        checkpoints.keep(stage, state)
    finally:
        _restore(trained, state.kept)
        for parameter in trained:
            parameter.requires_grad_(False)
        detector.eval()
        run.progress.stop()
    return Fitted(standing.step, standing.best_step, standing.before, standing.best, standing.seconds)


def _judge(state: StageState, now: float) -> None:
    standing = state.standing
    if now < standing.best:
        standing.best, standing.best_step, standing.waited = now, standing.step, 0
        state.kept = _copy(state.trained)
    else:
        standing.waited += 1


def _step(
    detector: Detector,
    trained: list[nn.Parameter],
    sampler: Sampler,
    loss: Callable[[Batch], Tensor],
    optimiser: torch.optim.Optimizer,
    options: StageOptions,
) -> None:
    detector.train()
    batch = sampler.draw(detector.device)
    value = loss(batch)
    if not math.isfinite(float(value.detach())):
        raise MolexError(
            f"training diverged: the loss became {float(value.detach())}. "
            "Lower the learning rate, e.g. --set expert.learning_rate=1e-3"
        )
    value.backward()
    torch.nn.utils.clip_grad_norm_(trained, options.gradient_clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _copy(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


@torch.no_grad()
def _restore(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
