"""The attach self-test: an adapted layer without effect is an error.

transformers' WavLM passes the raw attention weights to `F.multi_head_attention_forward`. LoRA on those layers trains
nothing, and no error says so. So every adapted layer is perturbed once: the output must change, and the layer must get
a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molex_adapt.errors import ExpertError
from molex_adapt.mixture.mixture import Mixture


def check_attached(mixture: Mixture, name: str) -> None:
    """Perturb every adapted layer of an expert, and restore it bit for bit; ExpertError where one has no effect."""
    index = mixture.index(name)
    device = next(mixture.base.parameters()).device
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 12, mixture.base.prefix_width, generator=generator).to(device)
    frames = torch.tensor([12], device=device)
    training = mixture.training
    mixture.eval()
    try:
        with mixture.forcing(name):  # routed as usual, the expert might not act at all
            dead = [
                path
                for path, layer in mixture.placed.items()
                if not _acts(mixture, layer.b[index], features, frames)
            ]
    finally:
        mixture.train(training)
    if dead:
        raise ExpertError(
            f"{len(dead)} adapted layer(s) have no effect on the output, first {dead[0]}: the base does not call them "
            "as layers (WavLM's attention projections are such). Adapt others, e.g. --set "
            f"lora.targets=[{','.join(mixture.base.family.feed_forward)}]"
        )


def _acts(mixture: Mixture, weight: nn.Parameter, features: Tensor, frames: Tensor) -> bool:
    """Whether B of one layer gets a gradient and moves the output. A does neither while B is zero."""
    trainable, saved = weight.requires_grad, weight.detach().clone()
    weight.requires_grad_(True)
    # Random directions: a layer norm at the end removes a shift of all channels, and has no gradient along its norm.
    generator = torch.Generator().manual_seed(1)
    shift = 0.1 * torch.randn(weight.shape, generator=generator).to(weight.device)
    try:
        before = mixture.hidden_states(features, frames)[-1]
        if not before.requires_grad:
            return False
        seen = torch.randn(before.shape, generator=generator).to(before.device)
        (gradient,) = torch.autograd.grad((before * seen).sum(), weight, allow_unused=True)
        with torch.no_grad():
            weight.add_(shift)
            after = mixture.hidden_states(features, frames)[-1]
    finally:
        with torch.no_grad():
            weight.copy_(saved)
        weight.requires_grad_(trainable)
    moved = float((after - before.detach()).abs().max())
    more_than_rounding = 1e-5
    return gradient is not None and float(gradient.abs().max()) > 0 and moved > more_than_rounding
