"""Routing statistics: the gates that a detector gives to utterances.

Shapes: (B, N, E) has N frames, or 1 where one decision holds for the whole utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molex_adapt.base import frame_mask, send
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.features import Features, batch_seconds, length_batches, pad_clips, with_witnesses
from molex_adapt.mixture.routers import utterance_mean


@dataclass(frozen=True)
class Gates:
    """The routers' decisions for N utterances. Frame routing is averaged over the valid frames of an utterance."""

    logits: Tensor
    """(N,) uncalibrated scores from the same pass."""
    gates: Tensor
    """(N, L, E) after top-k, each row summing to 1, or to less where the frozen base keeps a share."""
    probabilities: Tensor
    """(N, L, E) before top-k."""


@torch.no_grad()
def collect(detector: Detector, features: Features) -> Gates:
    """Score utterances and keep the decision of every router."""
    shape = (len(features), len(detector.mixture.routers), len(detector.mixture.specs))
    logits, gates, probabilities = torch.zeros(len(features)), torch.zeros(shape), torch.zeros(shape)
    for indices in length_batches(
        [len(clip) for clip in features.clips], batch_seconds(detector.device) * SAMPLE_RATE / FRAME_SAMPLES
    ):
        clips, frames = pad_clips([features.clips[i] for i in indices])
        clips = send(clips, detector.device)
        logit = detector.logit(clips, frames)
        mask = frame_mask(frames, clips)
        routings = detector.mixture.routings
        # All blocks in one copy: every copy to the CPU waits for the device.
        gates[indices] = _utterance_means([routing.gates for routing in routings], mask)
        probabilities[indices] = _utterance_means([routing.probabilities for routing in routings], mask)
        logits[indices] = logit.cpu()
    return Gates(with_witnesses(detector, features, logits), gates, probabilities)


def _utterance_means(blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
    """L tensors (B, N, E) to (B, L, E) on the CPU, over valid frames where N is F."""
    return torch.stack([utterance_mean(values, mask) for values in blocks], dim=1).float().cpu()
