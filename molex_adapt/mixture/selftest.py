"""The attach self-test: an adapted layer without effect is an error.

transformers' WavLM passes the raw attention weights to `F.multi_head_attention_forward`. LoRA on those layers trains
nothing, and no error says so. So every adapted layer is perturbed once: the output must change, and the layer must get
a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from molex_adapt.errors import ExpertError
from molex_adapt.mixture.mixture import Mixture


def check_attached(mixture: Mixture, name: str) -> None:
    """Perturb every adapted layer of an expert, and restore it bit for bit; ExpertError where one has no effect."""
    index = mixture.index(name)
    weights = {path: layer.b[index] for path, layer in mixture.placed.items()}
    trainable = {path: weight.requires_grad for path, weight in weights.items()}
    training = mixture.training
    mixture.eval()
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        with mixture.forcing(name):  # routed as usual, the expert might not act at all
            dead = _without_effect(mixture, weights)
    finally:
        mixture.train(training)
        for path, weight in weights.items():
            weight.requires_grad_(trainable[path])
    if dead:
        raise ExpertError(
            f"{len(dead)} adapted layer(s) have no effect on the output, first {dead[0]}: the base does not call them "
            "as layers (WavLM's attention projections are such). Adapt others, e.g. --set "
            f"lora.targets=[{','.join(mixture.base.family.feed_forward)}]"
        )


def _without_effect(mixture: Mixture, weights: Mapping[str, Tensor]) -> list[str]:
    """Layers whose B gets no gradient or does not move the output. A does neither while B is zero."""
    device = next(mixture.base.parameters()).device
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 12, mixture.base.prefix_width, generator=generator).to(device)
    frames = torch.tensor([12], device=device)
    before = mixture.hidden_states(features, frames)[-1]
    if not before.requires_grad:
        return list(weights)
    # Random directions: a layer norm at the end removes a shift of all channels, and has no gradient along its norm.
    seen = torch.randn(before.shape, generator=generator).to(device)
    gradients = torch.autograd.grad((before * seen).sum(), list(weights.values()), allow_unused=True)
    more_than_rounding = 1e-5
    dead = []
    with torch.no_grad():
        for (path, weight), gradient in zip(weights.items(), gradients, strict=True):
            with _perturbed(weight):
                after = mixture.hidden_states(features, frames)[-1]
            moved = float((after - before).abs().max()) > more_than_rounding
            if gradient is None or not float(gradient.abs().max()) > 0 or not moved:
                dead.append(path)
    return dead


@contextmanager
def _perturbed(weight: Tensor) -> Iterator[None]:
    """Shift a weight at random, and restore it bit for bit."""
    saved = weight.clone()
    weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight.device))
    try:
        yield
    finally:
        weight.copy_(saved)
