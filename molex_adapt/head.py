"""The head: learned layer weights, attentive statistics pooling, one logit.

Source: layer weighting as in SUPERB (arXiv 2105.01051); attentive statistics pooling from Okabe et al. (arXiv
1803.10963); the combination and sizes are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molex_adapt.readout import Readout
from molex_adapt.recipe import HeadOptions

DROPOUT = 0.1


class Head(nn.Module):
    """From all hidden states to one uncalibrated score per utterance.

    `readout` stands beside it, None where the recipe has it off. It has its own input: see `Detector.fuse`.
    """

    def __init__(self, width: int, states: int, options: HeadOptions) -> None:
        super().__init__()
        self.layer_weights = nn.Parameter(torch.zeros(states))
        self.project = nn.Linear(width, options.width)
        self.attend = nn.Sequential(
            nn.Linear(options.width, options.width // 2),
            nn.Tanh(),
            nn.Linear(options.width // 2, options.width),
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.classify = nn.Linear(2 * options.width, 1)
        self.readout = Readout(2 * width * states) if options.readout else None

    def forward(self, states: list[Tensor], mask: Tensor) -> Tensor:
        """Score utterances.

        Args:
            states: L + 1 tensors (B, F, D).
            mask: (B, F) bool, True where a frame is valid.

        Returns:
            (B,) logit; higher is more bona fide. Not calibrated.
        """
        # States grow with depth: each is normalised before the mean, so that the weights compare like with like.
        weights = self.layer_weights.softmax(0)
        width = states[0].shape[-1:]
        mixed = torch.zeros_like(states[0])
        for weight, state in zip(weights, states, strict=True):
            mixed = mixed + weight * F.layer_norm(state, width)
        hidden = F.gelu(self.project(mixed))
        attention = self.attend(hidden).masked_fill(~mask[..., None], -torch.inf).softmax(1)
        mean = (attention * hidden).sum(1)
        # Two-pass variance: the difference of squares cancels on near-constant features.
        variance = (attention * (hidden - mean[:, None]).square()).sum(1)
        # The root has an infinite slope at zero.
        pooled = torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)
        logit: Tensor = self.classify(self.dropout(pooled))
        return logit[:, 0]
