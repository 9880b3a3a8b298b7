"""Everything here runs on the CPU, and on a CUDA card where there is one; what is compared with is always the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec
from molex_adapt.recipe import Recipe

CARD = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here")
)


@pytest.fixture(params=["cpu", CARD])
def device(request) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def detector_on(tiny_folder_of, tiny_recipe) -> Callable[..., Detector]:
    """The same detector wherever it is put: so many random experts, a head, routing as said."""

    def build(
        device: torch.device | str,
        experts: int = 3,
        precision: str = "fp32",
        norm: str = "layer",
        kind: str = "wavlm",
        **router: object,
    ) -> Detector:
        recipe: Recipe = tiny_recipe(router={"top_k": 2, **router})
        torch.manual_seed(1)
        detector = Detector(load_base(tiny_folder_of(kind, norm, norm == "layer")), recipe)
        for at in range(experts):
            detector.mixture.add(ExpertSpec(f"e{at}", 2, 4.0))
            for weight in detector.mixture.expert_parameters(f"e{at}"):
                weight.data.copy_(torch.randn_like(weight) * 0.2)
            for row in detector.mixture.router_rows(f"e{at}"):
                row.data.copy_(torch.randn_like(row) * 3)
        detector.requires_grad_(False).eval().to(device)
        detector.base.compute_in(precision)
        return detector

    return build


@pytest.fixture
def kept() -> Features:
    """Prefix features of eight recordings and their forged copies."""
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(10 + at % 8, 16, generator=generator) for at in range(16)]
    for clip in clips[8:]:
        clip[:, 0] += 2
    attacks = tuple(None if at < 8 else "buzz" for at in range(16))
    sources = tuple(str(at % 8) for at in range(16))
    return Features(tuple(clip.half() for clip in clips), torch.arange(16) < 8, sources, attacks)


@pytest.fixture
def cached(monkeypatch, tmp_path) -> Path:
    """Prefix features are kept, here."""
    monkeypatch.setenv("MOLEX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
