"""A training run that stops at any moment and goes on as if it had not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molex_adapt.atomic import replacing
from molex_adapt.errors import DataError


@dataclass(frozen=True)
class Schedule:
    """How many steps, when to save, and what identifies the run: a checkpoint of another plan is refused."""

    steps: int
    plan: str
    checkpoint: Path
    seconds: float = 120  # between two checkpoints


def fit(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    step_loss: Callable[[int], Tensor],
    rates: Callable[[int], list[float]],
    schedule: Schedule,
) -> None:
    """Train, from the checkpoint where there is one; its file stays until the caller removes it.

    Args:
        model: on its device; trained in place.
        optimiser: of the model's parameters.
        step_loss: the loss of a step, from torch's global generators alone; they are saved and restored.
        rates: the learning rate of each parameter group at a step.
        schedule: steps, file and how often it is written.

    Raises:
        DataError: the checkpoint belongs to another plan.
    """
    device = next(model.parameters()).device
    step = restore(model, optimiser, schedule, device) if schedule.checkpoint.exists() else 0
    saved = time.monotonic()
    while step < schedule.steps:
        for group, rate in zip(optimiser.param_groups, rates(step), strict=True):
            group["lr"] = rate
        loss = step_loss(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 200 == 0:  # reading a figure waits for the device
            print(f"step {step} of {schedule.steps}, loss {float(loss.detach()):.4f}", flush=True)
        if step == schedule.steps or time.monotonic() - saved > schedule.seconds:
            save(model, optimiser, step, schedule, device)
            saved = time.monotonic()


def save(
    model: nn.Module, optimiser: torch.optim.Optimizer, step: int, schedule: Schedule, device: torch.device
) -> None:
    """Write everything that the next step depends on, in one atomic replacement."""
    content: dict[str, Any] = {
        "plan": schedule.plan,
        "step": step,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
    }
    if device.type == "cuda":
        content["random_cuda"] = torch.cuda.get_rng_state(device)
    schedule.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with replacing(schedule.checkpoint) as new:
        torch.save(content, new)


def restore(
    model: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule, device: torch.device
) -> int:
    """Put a checkpoint's state in place; returns its step.

    Raises:
        DataError: it belongs to another plan, or to a run on another kind of device.
    """
    # Only tensors and plain containers are read: a checkpoint cannot run code.
    content = torch.load(schedule.checkpoint, map_location="cpu", weights_only=True)
    if content["plan"] != schedule.plan or ("random_cuda" in content) != (device.type == "cuda"):
        raise DataError(
            f"{schedule.checkpoint} was written by the run '{content['plan']}'; this one is '{schedule.plan}' on "
            f"{device.type}. Repeat that run's options and device, or remove the file to begin anew."
        )
    model.load_state_dict(content["model"])
    optimiser.load_state_dict(content["optimiser"])
    torch.set_rng_state(content["random"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(content["random_cuda"], device)
    return int(content["step"])
