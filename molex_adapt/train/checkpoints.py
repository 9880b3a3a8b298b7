"""Checkpoints of a stage: all of its state, so that a resumed run ends with the same bits as one without a stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from molex_adapt.conventions import Seconds
from molex_adapt.errors import RegistryError
from molex_adapt.processes import from_first
from molex_adapt.progress import Progress, Silent
from molex_adapt.registry.checkpoints import RESTART, RunFolder
from molex_adapt.text import short

CHECKPOINT_SECONDS: Seconds = 30.0
"""A killed run loses at most this much training. Writing the state takes some milliseconds."""


class Draws(Protocol):
    """A sampler that can be resumed; `pools.Sampler` is one."""

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: dict[str, Tensor]) -> None: ...


@dataclass
class Standing:
    """How far a stage is, and the state of early stopping.

    Attributes:
        before, best: development loss at the start, and the lowest so far; nats.
        step, best_step: steps taken, and the step of the lowest loss.
        waited: evaluations since the last that improved it by enough.
    """

    before: float
    best: float
    step: int = 0
    best_step: int = 0
    waited: int = 0
    seconds: float = 0.0


@dataclass
class StageState:
    """Everything that decides the rest of a stage.

    Attributes:
        trained, kept: the weights in training, and their best values so far.
        device: its random numbers are part of the state, as are the CPU's.
    """

    trained: Sequence[nn.Parameter]
    kept: list[Tensor]
    optimiser: Optimizer
    schedule: LRScheduler
    sampler: Draws
    standing: Standing
    device: torch.device

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors by name, and the rest as JSON values."""
        found = {f"trained.{at}": weight.detach() for at, weight in enumerate(self.trained)}
        found |= {f"kept.{at}": value for at, value in enumerate(self.kept)}
        for at, values in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{at}.{key}": torch.as_tensor(value) for key, value in values.items()}
        found |= {f"sampler.{key}": value for key, value in self.sampler.state().items()}
        found |= {f"random.{key}": value for key, value in random_state(self.device).items()}
        rates = [group["lr"] for group in self.optimiser.param_groups]
        return found, {"standing": asdict(self.standing), "rates": rates}

    def restore(self, found: dict[str, Tensor], state: dict[str, Any]) -> None:
        """The inverse of `capture`, in place; some plain error where it is the state of another stage."""
        # Values from a file: each is converted, so that a wrong type fails here and not at some later step.
        said = state["standing"]
        standing = Standing(
            before=float(said["before"]),
            best=float(said["best"]),
            step=int(said["step"]),
            best_step=int(said["best_step"]),
            waited=int(said["waited"]),
            seconds=float(said["seconds"]),
        )
        with torch.no_grad():
            for at, weight in enumerate(self.trained):
                _same_shape(weight, found[f"trained.{at}"])  # copy_ would broadcast
                weight.copy_(found[f"trained.{at}"])
        self.kept = [found[f"kept.{at}"].to(weight.device) for at, weight in enumerate(self.trained)]
        for weight, value in zip(self.trained, self.kept, strict=True):
            _same_shape(weight, value)
        self._restore_optimiser(_below(found, "optimiser"), state["rates"], standing.step)
        self.sampler.restore(_below(found, "sampler"))
        set_random_state(_below(found, "random"), self.device)
        self.standing = standing

    def _restore_optimiser(self, found: dict[str, Tensor], rates: list[float], step: int) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in found.items():
            at, _, key = name.partition(".")
            state.setdefault(int(at), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = float(rate)
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        # A schedule is a function of the step; what else its state holds are the functions themselves.
        former = self.schedule.state_dict()
        self.schedule.load_state_dict(
            former | {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        )


@dataclass
class Checkpoints:
    """The checkpoints of one training run, `every` so many seconds; without a folder, none are kept.

    Of several processes, which all have the same state, the first alone has a folder; all go on from what it reads.
    `progress` hears when a stage is resumed, and when a checkpoint cannot be written.
    """

    folder: RunFolder | None = None
    progress: Progress = Silent()
    every: Seconds = field(default_factory=lambda: CHECKPOINT_SECONDS)
    _last: float = field(default_factory=time.monotonic)
    _failed: bool = False

    def resume(self, stage: str, state: StageState) -> bool:
        """Bring `state` to where an earlier run stopped in this stage; False where there is no checkpoint."""
        folder = self.folder
        found = from_first(lambda: None if folder is None else folder.read(stage))
        if found is None:
            return False
        arrays, rest = found
        try:
            state.restore({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, rest)
        except (KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError) as error:
            raise RegistryError(
                f"the checkpoint of the {stage} stage does not fit this run ({short(error, 200)}). {RESTART}"
            ) from None
        self.progress.note(f"{stage} stage: resumed after step {state.standing.step}")
        return True

    def offer(self, stage: str, state: StageState) -> None:
        """Keep the state if the last checkpoint is old enough."""
        if self.folder is not None and time.monotonic() - self._last >= self.every:
            self.keep(stage, state)

    def keep(self, stage: str, state: StageState) -> None:
        """Keep the state now. Where the disk cannot take it, training continues without the checkpoint."""
        if self.folder is None:
            return
        tensors, rest = state.capture()
        try:
            self.folder.write(stage, {name: value.cpu().numpy() for name, value in tensors.items()}, rest)
            self._failed = False
        except OSError as error:
            if not self._failed:  # a full disk would say so every 30 seconds
                self.progress.note(f"no checkpoint of the {stage} stage could be written: {error}")
            self._failed = True
        self._last = time.monotonic()


T = TypeVar("T")


def _below(found: dict[str, T], section: str) -> dict[str, T]:
    prefix = f"{section}."
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def _same_shape(weight: Tensor, value: Tensor) -> None:
    if weight.shape != value.shape:
        raise ValueError(f"shape {tuple(value.shape)} in place of {tuple(weight.shape)}")


def random_state(device: torch.device) -> dict[str, Tensor]:
    """What decides the next random numbers on the CPU, and on the device."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["mps"] = torch.mps.get_rng_state()
    return found


def set_random_state(found: dict[str, Tensor], device: torch.device) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(found["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(found["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(found["mps"])
