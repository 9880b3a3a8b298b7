"""Mixtures of random experts on random bases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.recipe import LoraOptions, RouterOptions


def shake(mixture: Mixture, name: str, seed: int) -> None:
    """Random LoRA weights and router rows, large enough to matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in mixture.expert_parameters(name):
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
        for row in mixture.router_rows(name):
            row.copy_(torch.randn(row.shape, generator=generator) * 3)


@pytest.fixture
def mixed(tiny_folder_of) -> Callable[..., Mixture]:
    """An attached mixture; experts as {name: (rank, alpha)}."""

    def build(
        kind: str = "wavlm",
        experts: dict[str, tuple[int, float]] | None = None,
        targets: tuple[str, ...] | None = None,
        norm: str = "layer",
        **router: object,
    ) -> Mixture:
        base = load_base(tiny_folder_of(kind, norm, norm == "layer"))
        lora = LoraOptions() if targets is None else LoraOptions(targets=targets)
        mixture = Mixture(base, lora, RouterOptions.model_validate(router))
        for number, (name, (rank, alpha)) in enumerate((experts or {}).items()):
            mixture.add(ExpertSpec(name, rank, alpha))
            shake(mixture, name, number)
        mixture.attach()
        return mixture.requires_grad_(False).eval()

    return build


@pytest.fixture
def heard() -> tuple[torch.Tensor, torch.Tensor]:
    """Prefix features of three utterances, the last two padded: (3, 14, 16) and (3,)."""
    frames = torch.tensor([14, 9, 11])
    features = torch.randn(3, 14, 16, generator=torch.Generator().manual_seed(7))
    return features * (torch.arange(14)[None] < frames[:, None])[..., None], frames
