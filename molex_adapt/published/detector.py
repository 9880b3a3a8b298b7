"""A published detector as it is taken in: its encoder, its head, and what is to be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from molex_adapt.base import Base, frame_mask
from molex_adapt.detector import head_for
from molex_adapt.recipe import Recipe


@dataclass(frozen=True)
class PublishedDetector:
    """A published detector.

    Attributes:
        base: its encoder.
        folder: where the encoder's files lie, to be copied; None where it stays on the Hub.
        head: the state of a `PublishedHead`.
        kind: the class of transformers that it is, or the family of detectors.
        bona_fide: its label of bona fide speech.
        spoof: its other labels.
        card: its README.md, which may be missing.
    """

    base: Base
    folder: Path | None
    head: dict[str, Tensor]
    kind: str
    bona_fide: str
    spoof: tuple[str, ...]
    card: Path

    @torch.no_grad()
    def score(self, wave: Tensor) -> float:
        """The log-odds of bona fide speech that encoder and head give one prepared waveform (T,)."""
        head = head_for(self.base, Recipe(), self.head)
        head.load_state_dict(self.head)
        features, frames = self.base.prefix(wave[None], torch.tensor([len(wave)]))
        return float(head(self.base.hidden_states(features, frames), frame_mask(frames, features)))


def head_state(
    classifier: tuple[Tensor, Tensor],
    bona_fide: int,
    projector: tuple[Tensor, Tensor] | None = None,
    layer_weights: Tensor | None = None,
    closing: nn.LayerNorm | None = None,
) -> dict[str, Tensor]:
    """The state of a `PublishedHead`, float32.

    Args:
        classifier, projector: weight and bias of these layers.
        bona_fide: the classifier's row of bona fide speech, which comes to be the first.
        layer_weights: as they are before softmax.
        closing: the layer norm that the encoder's last state passes.
    """
    order = [bona_fide, *(at for at in range(len(classifier[1])) if at != bona_fide)]
    pairs = {"classifier": tuple(part[order] for part in classifier)}
    if projector is not None:
        pairs["projector"] = projector
    if closing is not None:
        pairs["closing"] = (closing.weight, closing.bias)
    found = {} if layer_weights is None else {"layer_weights": layer_weights}
    for name, (weight, bias) in pairs.items():
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return {name: value.detach().float().contiguous() for name, value in found.items()}
