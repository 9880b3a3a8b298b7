from __future__ import annotations

import math

import pytest
import torch

from molex_adapt import analyze
from molex_adapt.analyze import analyse
from molex_adapt.errors import ExpertError
from molex_adapt.features import Features
from molex_adapt.routing import Gates


class Mixture:
    names = ("world", "opus")
    routers = (None, None)


class Detector:
    mixture = Mixture()


@pytest.fixture
def gates(monkeypatch) -> torch.Tensor:
    """(utterance, block, expert): one bona fide, two of buzz."""
    values = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.8, 0.2], [0.9, 0.1]], [[0.2, 0.8], [0.7, 0.3]]])
    monkeypatch.setattr(analyze, "collect", lambda *_: Gates(torch.zeros(3), values, values.flip(-1)))
    return values


def features(*attacks: str | None) -> Features:
    labels = torch.tensor([attack is None for attack in attacks])
    return Features(tuple(torch.zeros(2, 1) for _ in attacks), labels, ("s",) * len(attacks), attacks)


def test_shares_per_attack_and_block(gates):
    found = analyse(Detector(), {"one": features(None, "buzz"), "two": features("buzz")})
    assert (found.experts, found.attacks, found.blocks) == (("world", "opus"), ["buzz", "bonafide"], 2)
    assert found.utterances == {"buzz": 2, "bonafide": 1}
    assert found.usage["buzz"] == pytest.approx({"world": 0.65, "opus": 0.35})
    assert found.usage_before_top_k["buzz"] == pytest.approx({"world": 0.35, "opus": 0.65})
    assert found.usage_by_block["buzz"][0] == pytest.approx([0.5, 0.5])
    assert found.top_1["buzz"] == pytest.approx({"world": 0.75, "opus": 0.25})
    assert found.entropy_bits["bonafide"] == pytest.approx(0.5)
    mean = sum(-p * math.log2(p) for row in gates[1:].reshape(-1, 2).tolist() for p in row) / 4
    assert found.entropy_bits["buzz"] == pytest.approx(mean, abs=1e-6)
    for shares in found.usage.values():
        assert sum(shares.values()) == pytest.approx(1.0)


def test_a_mixture_without_experts_is_refused():
    class Empty:
        names = ()

    class Bare:
        mixture = Empty()

    with pytest.raises(ExpertError, match="no experts to look at"):
        analyse(Bare(), {})
