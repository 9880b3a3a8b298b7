"""Which frames of a padded batch are valid, and how many it has."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES

_STEPS: tuple[tuple[float, int], ...] = (50, 5), (200, 10), (500, 20), (math.inf, 50)
"""Up to so many frames in steps of so many: 0.1 s up to 1 s, and so on. Positions end at a multiple (Whisper: 1500)."""
_BEYOND = 80
"""Samples that a frame of wav2vec 2.0 hears beyond its 20 ms."""


def frames_with_room(frames: int) -> int:
    """At least so many frames, one of few numbers: whole steps, or one less, as convolutions make of so many seconds.

    Recordings whose lengths all differ ask for memory in ever new sizes, of which a gigabyte stayed unused between the
    others, and for a program of oneDNN for every shape, which took half of the time in bfloat16.
    """
    step = _step(frames)
    return frames if frames % step == 0 else frames + -(frames + 1) % step


def samples_with_room(samples: int) -> int:
    """The same for waveforms: at least so many samples, whole steps, or what makes a crop of as many frames."""
    step = FRAME_SAMPLES * _step(samples // FRAME_SAMPLES)
    beyond = samples % step
    return samples - beyond + (_BEYOND if 0 < beyond <= _BEYOND else step if beyond else 0)


def _step(frames: int) -> int:
    return next(step for end, step in _STEPS if frames <= end)


def frame_mask(frames: Tensor | None, features: Tensor) -> Tensor:
    """(B, F) bool on the features' device, true where a frame of (B, F, ...) is valid. Nothing waits for a GPU.

    Without `frames`, all of them are.
    """
    if frames is None:
        return torch.ones_like(features[..., 0], dtype=torch.bool)
    counts = send(frames, features.device)
    return torch.arange(features.shape[1], device=features.device)[None] < counts[:, None]


def mask_if_padded(frames: Tensor | None, features: Tensor) -> Tensor | None:
    """The mask, or None where no row is padded, which is faster. A mask on a GPU is not examined: that would wait."""
    if frames is None:
        return None
    if frames.device.type == "cpu" and bool((frames == features.shape[1]).all()):
        return None
    return frame_mask(frames, features)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. Copies to a GPU go through pinned memory, so that nothing waits for them."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    # Pinned however small: on an H100, eight bytes from pageable memory waited for every kernel queued before them.
    return tensor.pin_memory().to(device, non_blocking=True)
