"""Detectors on a tiny base, and domains of made-up prefix features: no audio is involved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.data import Table, Utterance
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec
from molex_adapt.recipe import Recipe
from molex_adapt.train.prepare import DomainData


@pytest.fixture
def detector_of(tiny_folder_of) -> Callable[..., Detector]:
    """An attached detector with random experts of these names."""

    def build(recipe: Recipe, *names: str) -> Detector:
        torch.manual_seed(1)
        detector = Detector(load_base(tiny_folder_of()), recipe)
        for name in names:
            detector.mixture.add(ExpertSpec(name, recipe.lora.rank, recipe.lora.alpha))
            for weight in (*detector.mixture.expert_parameters(name), *detector.mixture.router_rows(name)):
                weight.data.copy_((torch.randn_like(weight) * 0.2).half())
        return detector.requires_grad_(False).eval()

    return build


@pytest.fixture
def features_of() -> Callable[..., Features]:
    """So many utterances of each class; the spoofed ones are shifted in one channel."""

    def make(
        count: int, seed: int = 0, attack: str = "buzz", channel: int = 0, shift: float = 3.0
    ) -> Features:
        generator = torch.Generator().manual_seed(seed)
        clips, attacks = [], []
        for number in range(2 * count):
            clip = torch.randn(10 + number % 14, 16, generator=generator)
            if number >= count:
                clip[:, channel] += shift
            clips.append(clip.half())
            attacks.append(attack if number >= count else None)
        bona_fide = torch.arange(2 * count) < count
        return Features(
            tuple(clips), bona_fide, tuple(f"{seed}/{i % count}" for i in range(2 * count)), tuple(attacks)
        )

    return make


@pytest.fixture
def domain_of(features_of) -> Callable[..., DomainData]:
    """A domain with its three splits."""

    def make(attack: str = "buzz", channel: int = 0, seed: int = 0, count: int = 8) -> DomainData:
        items = tuple(
            Utterance(
                Path(f"{split}-{label}.wav"), label, attack if label == "spoof" else None, split, split=split
            )
            for split in ("train", "dev", "test")
            for label in ("bonafide", "spoof")
        )
        parts = [features_of(count, 10 * seed + number, attack, channel) for number in range(3)]
        return DomainData(Table(items, attack), *parts, failed=(), remarks=())

    return make


@pytest.fixture
def state() -> Callable[[Detector], dict[str, torch.Tensor]]:
    """Every number of a detector, by what it belongs to."""

    def take(detector: Detector) -> dict[str, torch.Tensor]:
        own = detector.base.model.state_dict()
        found = {f"base {key}": value for key, value in own.items() if ".bank." not in key}
        found |= {f"head {key}": value for key, value in detector.head.state_dict().items()}
        for name in detector.mixture.names:
            found |= {f"expert {name} {key}": value for key, value in detector.mixture.weights(name).items()}
            found |= {f"row {name} {at}": row for at, row in enumerate(detector.mixture.router_rows(name))}
        for at, router in enumerate(detector.mixture.routers):
            found |= {f"router {at} {key}": value for key, value in router.named_buffers(recurse=False)}
        return {key: value.detach().clone() for key, value in found.items()}

    return take


@pytest.fixture
def changed(state) -> Callable[..., set[str]]:
    """What differs, by the first two words of its name ("expert world", "row world", "head", "base", "router")."""

    def compare(before: dict[str, torch.Tensor], detector: Detector) -> set[str]:
        after = state(detector)
        assert before.keys() <= after.keys()
        moved = [key for key, value in before.items() if not torch.equal(value, after[key])]
        return {" ".join(key.split()[: 2 if key.split()[0] in ("expert", "row") else 1]) for key in moved}

    return compare
