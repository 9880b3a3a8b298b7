"""Several processes on one corpus, as `accelerate launch` and `torchrun` start them: each hears a part.

What they saw is joined exactly, and every one of them has the whole of it afterwards.
"""

from __future__ import annotations

import os
from functools import reduce
from typing import Any

import torch
from torch import distributed

from molex_adapt.analysis.observed import Observed
from molex_adapt.data import Failed


def place() -> tuple[int, int]:
    """Which of how many processes this one is; (0, 1) where nothing started several."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def take_card() -> None:
    """Let each process have a card of its own, before a detector is put on one."""
    if place()[1] > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def gathered(
    observed: Observed, failed: tuple[Failed, ...], parts: int
) -> tuple[Observed, tuple[Failed, ...]]:
    """What all processes saw together; what this one saw where it is alone."""
    if parts == 1:
        return observed, failed
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")  # sums lie on the CPU by now
    found: list[Any] = [None] * parts
    distributed.all_gather_object(found, (observed, failed))
    whole = reduce(Observed.merge, [seen for seen, _ in found])
    return whole, tuple(item for _, lost in found for item in lost)
