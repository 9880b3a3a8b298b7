"""The encoder of Whisper base as a teacher. Shapes: B batch, T samples at 16 kHz, F frames of 20 ms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.base import Base, BaseIdentity
from tools.whisper_base import SHA256, encoder_of, find_parts, read_weights

WIDTH = 512
STRETCH = 480_000
"""Samples that the encoder hears at once: 30 s."""


class Teacher:
    """The encoder, frozen; on a card its blocks compute in bfloat16 where the card can."""

    def __init__(self, device: torch.device) -> None:
        identity = BaseIdentity("whisper-base", "local", SHA256)
        self.base = Base(encoder_of(read_weights(find_parts())), identity, normalised=False).to(device)
        self.base.compute_in("auto" if device.type == "cuda" else "fp32")

    @torch.no_grad()
    def __call__(self, wave: Tensor, blocks: tuple[int, ...]) -> Tensor:
        """Hear stretches of 30 s.

        Args:
            wave: (B, 480000) float32 in [-1, 1].
            blocks: which blocks' outputs to keep, from 1.

        Returns:
            (B, 1500, len(blocks), 512), each vector normalised.
        """
        states = self.base.hidden_states(*self.base.prefix(wave, torch.full((len(wave),), STRETCH)))
        return torch.stack([F.layer_norm(states[block], (WIDTH,)) for block in blocks], 2)
