from __future__ import annotations

import pytest
import torch

from molex_adapt.analysis import analyse_recalled
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec
from molex_adapt.routing import collect


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_collected_gates_are_means_over_valid_frames(tiny_folder_of, tiny_recipe, routing):
    torch.manual_seed(0)
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(router={"routing": routing}))
    for name in ("world", "opus", "codec2"):
        detector.mixture.add(ExpertSpec(name, 2, 4.0))
        for row in detector.mixture.router_rows(name):
            torch.nn.init.normal_(row)
    features = Features(
        tuple(torch.randn(count, 16).half() for count in (9, 4, 6)),
        torch.tensor([True, False, False]),
        ("a", "b", "c"),
        (None, "buzz", "buzz"),
    )
    gates = collect(detector, features)
    assert gates.gates.shape == gates.probabilities.shape == (3, 2, 3)
    torch.testing.assert_close(gates.gates.sum(-1), torch.ones(3, 2))
    for index, clip in enumerate(features.clips):
        with torch.no_grad():
            logit = detector.logit(clip[None].float(), torch.tensor([len(clip)]))
        torch.testing.assert_close(gates.logits[index], logit[0], atol=1e-5, rtol=0)
        for block, found in enumerate(detector.mixture.routings):
            torch.testing.assert_close(gates.gates[index, block], found.gates[0].mean(0), atol=1e-5, rtol=0)
    usage = analyse_recalled(detector, features, {}).usage_by_block
    assert list(usage) == ["buzz", "bonafide"]
    torch.testing.assert_close(torch.tensor(usage["buzz"]), gates.gates[1:].mean(0), atol=1e-6, rtol=0)


def test_a_base_that_is_called_on_its_own_collects_nothing(tiny_folder_of, tiny_recipe):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe())
    detector.mixture.add(ExpertSpec("world", 2, 4.0))
    wave = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    detector.score(wave, torch.tensor([8_000, 8_000]))
    routings = list(detector.mixture.routings)
    for _ in range(2):
        detector.base.model(wave)
    assert all(one is other for one, other in zip(detector.mixture.routings, routings, strict=True))
    assert detector.base._states is None
