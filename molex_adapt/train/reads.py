"""What routers read: their inputs, caught while the detector runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.detector import Detector
from molex_adapt.features import Features, length_batches, pad_clips
from molex_adapt.mixture.routers import utterance_mean


@torch.no_grad()
def reads_of(detector: Detector, features: Features) -> Tensor:
    """(N, L, D) mean input of every router over each utterance, standardised, on the CPU."""
    routers = detector.mixture.routers
    found = torch.zeros(len(features), len(routers), detector.base.width)
    for rows in length_batches([len(clip) for clip in features.clips], 1000):
        clips, frames = pad_clips([features.clips[row] for row in rows])
        with caught_reads(detector) as caught:
            detector.mixture.hidden_states(send(clips, detector.device), frames)
        means = [
            utterance_mean(router.standardised(*own), own[1])
            for router, own in zip(routers, caught, strict=True)
        ]
        found[rows] = torch.stack(means, dim=1).cpu()
    return found


@contextmanager
def caught_reads(detector: Detector) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Input (B, F, D) and mask (B, F) of every router, for the forward passes inside the `with` block."""
    caught: list[tuple[Tensor, Tensor]] = []
    handles = [
        router.register_forward_pre_hook(lambda _module, args: caught.append((args[0], args[1])))
        for router in detector.mixture.routers
    ]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()
