"""Averages over the frames that count, and bands of bins.

Shapes: B recordings, N frames, K values of a frame.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ACTIVE = 8.0
"""Frames count down to e^8 of power (35 dB) below the loud ones; pauses say more of the room than of the voice."""


def active(bins: Tensor, valid: Tensor) -> Tensor:
    """(B, N): the frames that count, at least the loudest of every recording, by log power (B, N, bins)."""
    level = torch.logsumexp(bins, dim=2).masked_fill(~valid, -math.inf)
    falling = level.sort(dim=1, descending=True).values
    loud = falling.gather(1, (valid.sum(1, keepdim=True) - 1) // 20)
    return level >= loud - _ACTIVE


def in_a_row(mask: Tensor) -> Tensor:
    """(B, N) to (B, N - 2): frames that count as both of their neighbours do."""
    return mask[:, 2:] & mask[:, 1:-1] & mask[:, :-2]


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, K) over the masked frames to (B, K); 0 where there are none."""
    # Not a product with the mask: frames of padding may hold what times 0 is no number.
    kept = values.masked_fill(~mask[..., None], 0.0)
    return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def deviation(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, K) over the masked frames to (B, K)."""
    centred = values - mean(values, mask)[:, None]
    return mean(centred.square(), mask).sqrt()


def triangles(count: int, bins: int) -> NDArray[np.float32]:
    """(count, bins): overlapping triangles, equally wide from 0 to 8 kHz, each of sum 1."""
    corners, places = np.linspace(0, bins - 1, count + 2)[:, None], np.arange(bins)[None]
    low, top, high = corners[:-2], corners[1:-1], corners[2:]
    found = np.clip(np.minimum((places - low) / (top - low), (high - places) / (high - top)), 0, None)
    shares: NDArray[np.float32] = (found / found.sum(1, keepdims=True)).astype(np.float32)
    return shares
