from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec

EXPERTS = ("world", "opus", "codec2")


@pytest.fixture
def detector_of(tiny_folder_of, tiny_recipe) -> Callable[..., Detector]:
    """A detector of random experts that matter; routing options by keyword."""

    def build(experts: tuple[str, ...] = EXPERTS, readout: bool = False, **router: object) -> Detector:
        torch.manual_seed(1)
        detector = Detector(
            load_base(tiny_folder_of()), tiny_recipe(router={"top_k": 2, **router}, head={"readout": readout})
        )
        for name in experts:
            detector.mixture.add(ExpertSpec(name, 2, 4.0))
            for weight in detector.mixture.expert_parameters(name):
                weight.data.copy_(torch.randn_like(weight) * 0.2)
            for row in detector.mixture.router_rows(name):
                row.data.copy_(torch.randn_like(row) * 3)
        return detector.requires_grad_(False).eval()

    return build


@pytest.fixture
def kept() -> Features:
    """Prefix features of a dozen recordings of many lengths, every other one a forged copy of the one before."""
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(6 + 3 * at % 11, 16, generator=generator) for at in range(12)]
    for clip in clips[1::2]:
        clip[:, 0] += 2
    attacks = tuple(None if at % 2 == 0 else ("buzz", "hum")[at % 4 == 1] for at in range(12))
    return Features(
        tuple(clip.half() for clip in clips),
        torch.tensor([name is None for name in attacks]),
        tuple(str(at // 2) for at in range(12)),
        attacks,
    )
