"""The head: learned layer weights, attentive statistics pooling, one logit; or that of a published detector.

Shapes: C classes of a published detector, P the width of its projection.

Source: layer weighting as in SUPERB (arXiv 2105.01051); attentive statistics pooling from Okabe et al. (arXiv
1803.10963); the combination and sizes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molex_adapt.chance import dropout
from molex_adapt.readout import Readout
from molex_adapt.recipe import HeadOptions

DROPOUT = 0.1
_SHRINKAGE = 0.25
"""What experts say counts a quarter of what they were trained to say. They lower the scores of real speech of channels
that they never heard as well; development voices do not show it."""


class Head(nn.Module):
    """From all hidden states to one uncalibrated score per utterance.

    `readout` stands beside it, None where the recipe has it off. It has its own input: see `Detector.told`. The readout
    says what the frozen base knows, so beside it the head is `relative`: it scores what experts change of the pooled
    states, and says 0 where no expert acts. That is shrunk, as the steps of boosting are (Friedman 2001). A readout and
    a head that is not relative are those of earlier registries.
    """

    def __init__(self, width: int, states: int, options: HeadOptions, relative: bool | None = None) -> None:
        super().__init__()
        self.relative = options.readout if relative is None else relative
        self.shrinkage = _SHRINKAGE if self.relative else 1.0
        self.layer_weights = nn.Parameter(torch.zeros(states))
        self.project = nn.Linear(width, options.width)
        self.attend = nn.Sequential(
            nn.Linear(options.width, options.width // 2),
            nn.Tanh(),
            nn.Linear(options.width // 2, options.width),
        )
        # What is added to both sides of a difference is no part of it.
        self.classify = nn.Linear(2 * options.width, 1, bias=not self.relative)
        self.readout = Readout(2 * width * states) if options.readout else None

    def forward(self, states: list[Tensor], mask: Tensor, frozen: list[Tensor] | None = None) -> Tensor:
        """Score utterances.

        Args:
            states: L + 1 tensors (B, F, D).
            mask: (B, F) bool, True where a frame is valid.
            frozen: the same states without experts; needed where the head is relative, and not read elsewhere.

        Returns:
            (B,) logit; higher is more bona fide. Not calibrated.
        """
        pooled = self._pooled(states, mask)
        if self.relative:
            assert frozen is not None
            pooled = pooled - self._pooled(frozen, mask)
        logit: Tensor = self.classify(dropout(pooled, DROPOUT, self.training))
        return self.shrinkage * logit[:, 0]

    def _pooled(self, states: list[Tensor], mask: Tensor) -> Tensor:
        """(B, 2 * width): attentive mean and deviation of the weighted layers."""
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
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


def is_relative(state: Mapping[str, Any]) -> bool:
    """Whether a stored head is relative: its last layer has no bias."""
    return "classify.weight" in state and "classify.bias" not in state


@dataclass(frozen=True)
class PublishedParts:
    """Which parts a published head has; its tensors alone say so.

    Attributes:
        labels: C.
        projection: P; None where the classifier reads the pooled states themselves.
        layer_sum: whether it weights all states, instead of reading the last one.
        closing: whether the last state passes the encoder's closing layer norm, which `Base.hidden_states` leaves out.
    """

    labels: int
    projection: int | None
    layer_sum: bool
    closing: bool

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self | None:
        """Those of a stored head; None where it is no published one."""
        classifier, projector = (state.get(f"{name}.weight") for name in ("classifier", "projector"))
        if classifier is None:
            return None
        labels = max(2, classifier.shape[0]) if classifier.ndim else 2
        projection = None if projector is None else int(projector.shape[0]) if projector.ndim else 1
        return cls(int(labels), projection, "layer_weights" in state, "closing.weight" in state)


class PublishedHead(nn.Module):
    """The head that a detector was published with, unchanged: projection, mean over frames, classifier.

    It holds no parameter, so that no stage of training moves it. `readout` is as in `Head`. Bona fide speech is the
    first of the classifier's rows, wherever it was when it was published. It is not `relative`, and nothing of it is
    shrunk: it is the detector.

    Source: the `ForSequenceClassification` classes of transformers; Ge et al. (arXiv 2506.21090).
    """

    relative = False
    shrinkage = 1.0

    def __init__(
        self,
        width: int,
        states: int,
        parts: PublishedParts,
        closing: nn.LayerNorm | None,
        options: HeadOptions,
    ) -> None:
        """With the encoder's own `closing` layer norm, for its epsilon; its weights are stored with the head."""
        super().__init__()
        self.epsilon = 1e-5 if closing is None else closing.eps
        self.closing = _Fixed(width) if parts.closing else None
        if parts.layer_sum:
            self.register_buffer("layer_weights", torch.zeros(states))
        self.projector = None if parts.projection is None else _Fixed(parts.projection, width)
        self.classifier = _Fixed(parts.labels, parts.projection or width)
        self.readout = Readout(2 * width * states) if options.readout else None

    def forward(self, states: list[Tensor], mask: Tensor, frozen: list[Tensor] | None = None) -> Tensor:
        """Score utterances; arguments as for `Head`, and `frozen` is not read.

        Returns:
            (B,) log-odds of bona fide speech against all other classes: of two, the difference of their logits.
        """
        hidden = states[-1]
        if self.closing is not None:
            closing = self.closing
            hidden = F.layer_norm(hidden, hidden.shape[-1:], closing.weight, closing.bias, self.epsilon)
        if "layer_weights" in self._buffers:
            weights = cast(Tensor, self.layer_weights).softmax(0)
            mixed = torch.zeros_like(hidden)
            for weight, state in zip(weights, [*states[:-1], hidden], strict=True):
                mixed = mixed + weight * state
            hidden = mixed
        if self.projector is not None:
            hidden = F.linear(hidden, self.projector.weight, self.projector.bias)
        pooled = hidden.masked_fill(~mask[..., None], 0.0).sum(1) / mask.sum(1, keepdim=True)
        logits = F.linear(pooled, self.classifier.weight, self.classifier.bias)
        return logits[:, 0] - logits[:, 1:].logsumexp(1)


class _Fixed(nn.Module):
    """A weight and a bias that are stored and not trained."""

    weight: Tensor
    bias: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape))
        self.register_buffer("bias", torch.zeros(shape[0]))
