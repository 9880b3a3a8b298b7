"""Which experts fire for which utterances: gates collected from a detector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.features import Features, batch_seconds, length_batches, pad_clips, send


@dataclass(frozen=True)
class Gates:
    """What the routers decided for N utterances; frame routing is averaged over an utterance's valid frames.

    Attributes:
        logits: (N,) the detector's uncalibrated scores of the same pass.
        gates: (N, L, E) after top-k, each (L, E) row summing to 1.
        probabilities: (N, L, E) before top-k.
    """

    logits: Tensor
    gates: Tensor
    probabilities: Tensor


@torch.no_grad()
def collect(detector: Detector, features: Features) -> Gates:
    """Score utterances and keep every router's decision."""
    shape = (len(features), len(detector.mixture.routers), len(detector.mixture.specs))
    logits, gates, probabilities = torch.zeros(len(features)), torch.zeros(shape), torch.zeros(shape)
    for indices in length_batches(
        [len(clip) for clip in features.clips], batch_seconds(detector.device) * SAMPLE_RATE / FRAME_SAMPLES
    ):
        clips, frames = pad_clips([features.clips[i] for i in indices])
        clips, frames = send(clips, detector.device), send(frames, detector.device)
        logits[indices] = detector.logit(clips, frames).float().cpu()
        for block, routing in enumerate(detector.mixture.routings):
            gates[indices, block] = _utterance_mean(routing.gates, frames).float().cpu()
            probabilities[indices, block] = _utterance_mean(routing.probabilities, frames).float().cpu()
    return Gates(logits, gates, probabilities)


def usage_by_block(gates: Gates, attacks: tuple[str | None, ...]) -> dict[str, list[list[float]]]:
    """Mean gate per attack (or "bonafide"), block and expert; every block's shares sum to 1."""
    found = {}
    for attack in sorted({attack or "bonafide" for attack in attacks}):
        rows = torch.tensor([(name or "bonafide") == attack for name in attacks])
        found[attack] = gates.gates[rows].mean(0).tolist()
    return found


def _utterance_mean(values: Tensor, frames: Tensor) -> Tensor:
    """(B, N, E) to (B, E), over valid frames where N is F."""
    if values.shape[1] == 1:
        return values[:, 0]
    mask = torch.arange(values.shape[1], device=values.device)[None] < frames[:, None]
    return (values * mask[..., None]).sum(1) / frames[:, None]
