"""Which frames of a padded batch are valid."""

from __future__ import annotations

import torch
from torch import Tensor


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
