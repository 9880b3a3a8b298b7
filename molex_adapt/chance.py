"""Noise and dropout of a part of a batch: what its rows would have had in the whole.

Random numbers are drawn for the whole batch, and those of the part's rows are taken. A batch that is computed in parts,
by one process or by several, meets the same chance as in one pass, if every part begins at the same random state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

_part: ContextVar[tuple[int, int] | None] = ContextVar("_part", default=None)
"""The first row of a part, and how many rows the whole has; None outside of parts."""


@contextmanager
def part_of(first: int, whole: int) -> Iterator[None]:
    """Inside the `with` block, tensors hold the rows from `first` on of a batch of `whole` rows."""
    former = _part.set((first, whole))
    try:
        yield
    finally:
        _part.reset(former)


def normal_like(values: Tensor) -> Tensor:
    """Standard normal numbers (B, ...), as `torch.randn_like` gives them."""
    part = _part.get()
    if part is None:
        return torch.randn_like(values)
    first, whole = part
    return torch.randn_like(values.new_empty(whole, *values.shape[1:]))[first : first + len(values)]


def dropout(values: Tensor, probability: float, training: bool) -> Tensor:
    """(B, ...) with a share of the numbers at zero and the others scaled up, in training."""
    part = _part.get()
    if part is None or not training:
        return F.dropout(values, probability, training)
    first, whole = part
    kept = F.dropout(values.new_ones(whole, *values.shape[1:]), probability, training)
    return values * kept[first : first + len(values)]
