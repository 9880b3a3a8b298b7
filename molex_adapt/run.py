"""How work is run: where, in which numbers, by which seed, and who listens.

A `Run` is made once, at the edge: by the command line from its options, or by a caller of the Python API. From there it
is handed on whole, and every function takes from it what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from molex_adapt.conventions import LARGEST_INTEGER, Precision
from molex_adapt.errors import RecipeError
from molex_adapt.processes import are_several, on_this_machine
from molex_adapt.progress import Progress, Silent
from molex_adapt.text import shown

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Run:
    """How work is run. What is worked on, and by which recipe, is said beside it."""

    device: str = "auto"
    """"cpu", "cuda", "cuda:1" or "mps"; "auto" is CUDA where there is one, else Apple's MPS, else the CPU."""
    precision: Precision | None = None
    """What the base computes in; None for what the recipe says."""
    seed: int = 0
    """Decides all chance in training."""
    workers: int = 2
    """Threads or processes that decode recordings."""
    cache: Path | Literal["off"] | None = None
    """Folder for features of recordings; None for what MOLEX_CACHE says."""
    progress: Progress = Silent()
    command: str = ""
    """What the user typed, for the history."""
    allow_failures: bool = False
    """Train although more than a tenth of the recordings cannot be used."""
    resume: bool = False
    """Go on from the checkpoints of the same training that was killed; without any, from the beginning."""
    micro_batch: int | None = None
    """Utterances that pass the mixture at once in training; the gradient is still that of the whole batch. None for all
    of them."""

    def __post_init__(self) -> None:
        """Refuse a seed that the history could not hold, and a part of a batch that would hold nothing.

        Raises:
            RecipeError: the seed is beyond 2**53 in either direction, or `micro_batch` is below 1.
        """
        if self.micro_batch is not None and self.micro_batch < 1:
            raise RecipeError(f"{self.micro_batch} utterances cannot pass at once; give 1 or more")
        if abs(self.seed) > LARGEST_INTEGER:
            raise RecipeError(f"seed {shown(self.seed)} is beyond {LARGEST_INTEGER}; choose a smaller one")

    @contextmanager
    def drawing(self, device: torch.device) -> Iterator[None]:
        """Let torch draw by the seed; a caller's own random numbers of the CPU and a CUDA device go on as they were."""
        import torch

        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield

    def find_device(self) -> torch.device:
        """The device that `device` names here; of several processes on one machine, each gets a card of its own.

        Raises:
            RecipeError: it does not exist here.
        """
        import torch

        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        if are_several() and cuda and self.device in ("auto", "cuda"):
            card = torch.device("cuda", on_this_machine()[0] % torch.cuda.device_count())
            torch.cuda.set_device(card)
            return card
        if self.device == "auto":
            return torch.device("cuda" if cuda else "mps" if mps else "cpu")
        kind = self.device.partition(":")[0]
        if not {"cpu": True, "cuda": cuda, "mps": mps}.get(kind, False):
            raise RecipeError(f"device {self.device!r} is not available here; use --device auto, or cpu")
        try:
            found = torch.device(self.device)
        except RuntimeError as error:
            raise RecipeError(
                f"device {self.device!r} is not a device; use --device auto, cpu, cuda or mps (in Python cuda:1 too)"
            ) from error
        if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
            raise RecipeError(
                f"device {self.device!r} is not available here: there are {torch.cuda.device_count()} cards, counted "
                "from 0; use --device auto, or another"
            )
        return found
