"""Radian weight modification: gradients are turned away from what old domains used, or along it.

Shapes: M inputs of a LoRA's A.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.sequence.methods.base import Known, Setting
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.state import State, packed, unpacked, within
from molex_adapt.base import frame_mask
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import crop_frames

ALPHA = 1.0
"""The constant of the recursive least squares, as in the published code."""


class Rwm(OneLora):
    """Radian weight modification (Zhang et al., AAAI 2024, arXiv 2312.09651), made for audio deepfake detection.

    Every linear layer has a projector P away from its inputs in old domains, by the recursion of orthogonal weight
    modification (Zeng et al., Nature Machine Intelligence 2019): P - P r r' P / (alpha + r' P r), with r the mean input
    of a batch. From the second domain on its gradient is multiplied by P + tan(theta) Q, where Q = 1 - P is the
    direction along old inputs. theta begins at 45 degrees; bona fide speech, whose features are compact, turns it
    towards Q, and forged speech towards P, each utterance by the arc sine of its share in a softmax over the batch's
    outputs for the true class, by half.

    Formulas are those of the authors' published code (github.com/Cecile-hi/Radian-Weight-Modification), which modifies
    one layer; here the LoRA's A and B and the weights of the head are modified, and biases are free, as there. What
    differs: the code divides P and Q by their norms at every batch, which stops the recursion, and finds Q by a formula
    that is zero but for rounding where P can be inverted. Here neither is done, and P + tan(theta) Q is divided by its
    value at 45 degrees, so that gradients keep their size. P learns a domain after it was trained on, in one pass, and
    not while it is. That bona fide speech is the compact class is taken from the paper, not measured anew. The
    optimiser is that of all methods, AdamW. The active rank is that of `OneLora`.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.projectors: list[Tensor] = []
        self._theta = math.pi / 4

    def fit(self, pools: list[Pool], development: list[Features]) -> None:
        """With modified gradients, once there is an old domain."""
        handles = []
        for layer, projector in zip(self._layers(), self.projectors, strict=False):
            layer.weight.requires_grad_(True)
            handles.append(layer.weight.register_hook(self._modified(projector)))
        try:
            super().fit(pools, development)
        finally:
            for handle in handles:
                handle.remove()

    def penalty(self, logit: Tensor, batch: Batch) -> Tensor:
        """None; but the batch decides the direction of its own gradients."""
        self._theta = radian(logit.detach(), batch.bona_fide > 0.5)
        return super().penalty(logit, batch)

    @torch.no_grad()
    def conclude(self, name: str, data: DomainData) -> int:
        """The projectors learn the inputs of the domain, batch by batch."""
        recipe = self.setting.recipe
        sampler = Sampler([Pool(data.train, 1.0)], recipe.training.batch_size, crop_frames(recipe), 0)
        layers = self._layers()
        if not self.projectors:
            self.projectors = [torch.eye(layer.weight.shape[1]).to(layer.weight) for layer in layers]
        for _ in range(-(-len(data.train) // recipe.training.batch_size)):
            heard = mean_inputs(self.detector, sampler.draw(self.detector.device), layers)
            self.projectors = [turned_away(p, r) for p, r in zip(self.projectors, heard, strict=True)]
        return 0

    def own_state(self) -> State:
        """The projectors, which are symmetric."""
        return {str(at): packed(value) for at, value in enumerate(self.projectors)}

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        super().go_on(state, learnt)
        own = within(state, "own.")
        self.projectors = [unpacked(own[str(at)]).to(self.detector.device) for at in range(len(own))]

    def _modified(self, projector: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient @ direction(projector, self._theta)

    def _layers(self) -> list[Layer]:
        found = []
        for adapted in self.detector.mixture.placed.values():
            a, b = adapted.a[0], adapted.b[0]
            found += [Layer(a, adapted), Layer(b, adapted, a)]
        head = self.detector.head.modules()
        return found + [Layer(module.weight, module) for module in head if isinstance(module, nn.Linear)]


@dataclass(frozen=True)
class Layer:
    """A weight (D_out, D_in), and the module whose input it is multiplied by: as it is, or after `low` (D_in, M)."""

    weight: Tensor
    module: nn.Module
    low: Tensor | None = None


def direction(projector: Tensor, theta: float) -> Tensor:
    """P + tan(theta) Q with Q = 1 - P, scaled such that it is the identity at 45 degrees.

    At 0 it leads away from old inputs, as orthogonal weight modification does; at 90 degrees along them.
    """
    away, along = math.sqrt(2) * math.cos(theta), math.sqrt(2) * math.sin(theta)
    return (away - along) * projector + along * torch.eye(len(projector)).to(projector)


def radian(logit: Tensor, bona_fide: Tensor) -> float:
    """The angle theta of a batch, between 0 and 90 degrees, from logits (B,) and whether each is bona fide (B,).

    Of the two classes' outputs each has half of the logit, with opposite signs.
    """
    sign = torch.where(bona_fide, 1.0, -1.0).to(logit)
    shares = (sign * logit.float() / 2).softmax(0)
    return math.pi / 4 + float((sign * shares.clamp(max=1.0).asin()).sum()) / 2


def turned_away(projector: Tensor, heard: Tensor) -> Tensor:
    """The projector (D_in, D_in) after a further input (D_in,), by recursive least squares."""
    led = projector @ heard
    return projector - torch.outer(led, led) / (ALPHA + heard @ led)


def mean_inputs(detector: Detector, batch: Batch, layers: Sequence[Layer]) -> list[Tensor]:
    """By layer its mean input (D_in,) over the valid frames of a batch."""
    mask = frame_mask(batch.frames, batch.features)
    found: dict[nn.Module, Tensor] = {}

    def listen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float()
        found[module] = x[mask].mean(0) if x.dim() == 3 else x.mean(0)

    handles = [module.register_forward_pre_hook(listen) for module in {layer.module for layer in layers}]
    try:
        detector.logit(batch.features, batch.frames)
    finally:
        for handle in handles:
            handle.remove()
    return [found[layer.module] if layer.low is None else layer.low @ found[layer.module] for layer in layers]
