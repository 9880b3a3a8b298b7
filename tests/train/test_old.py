from __future__ import annotations

import pytest
import torch

from molex_adapt.features import logits_of
from molex_adapt.train.calibrate import score_development
from molex_adapt.train.exemplars import Exemplars, divide_replay
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.old import (
    OldDomain,
    development_sets,
    replay_pools,
    replay_weights,
    with_replay,
)
from molex_adapt.train.pools import Pool


@pytest.fixture
def mixed(detector_of, tiny_recipe):
    """A mixture of two experts."""
    return detector_of(tiny_recipe(), "world", "opus")


@pytest.fixture
def old(features_of) -> dict[str, OldDomain]:
    """Two old domains with exemplars, and one that keeps none."""
    kept = {
        name: OldDomain(name, Exemplars(features_of(8, at, name, 4 + at), features_of(0)))
        for at, name in enumerate(("world", "opus"))
    }
    return kept | {"kept nothing": OldDomain("world", None)}


def test_what_an_old_domain_costs_is_the_loss_on_what_is_kept_to_measure(mixed, old):
    losses = score_development(mixed, development_sets(old)).losses()
    assert set(losses) == {"world", "opus"}
    measured = divide_replay(old["opus"].exemplars.replay)[1]
    scores = mixed.calibration.apply(logits_of(mixed, measured).double().numpy())
    expected = detection_loss(torch.from_numpy(scores), measured.bona_fide.double())
    assert losses["opus"] == pytest.approx(float(expected), rel=1e-5)
    assert score_development(mixed, {}).losses() == {}


def test_harder_domains_are_replayed_more_and_none_is_left_out():
    weights = replay_weights({"easy": 0.0, "hard": 0.6})
    assert weights["hard"] / weights["easy"] == pytest.approx(5.0)
    assert replay_weights({"one": 0.2, "other": 0.2}) == pytest.approx({"one": 0.6, "other": 0.6})
    assert replay_weights({}) == {}
    nothing = replay_weights({"one": 0.0, "other": 0.0})  # all told apart beyond what a float shows
    assert nothing["one"] == nothing["other"] > 0


def test_what_is_replayed_is_divided_by_weight(mixed, old, features_of):
    replay = replay_pools(mixed, old, {"world": 1.0, "opus": 3.0})
    new = Pool(features_of(4, 9), 1.0, 0)
    assert [pool.share for pool in with_replay([new], replay, 0.4)] == pytest.approx([0.6, 0.1, 0.3])
    even = with_replay([new], replay_pools(mixed, old), 0.5)
    assert [pool.share for pool in even] == pytest.approx([0.5, 0.25, 0.25])
    several = with_replay([new, new], replay, 0.4)
    assert [pool.share for pool in several] == pytest.approx([0.3, 0.3, 0.1, 0.3])
    assert with_replay([new], [], 0.5) == [new]
    assert with_replay([], replay, 0.5) == replay


def test_nothing_leads_speech_to_an_expert_that_was_withdrawn(mixed, old):
    assert [pool.expert for pool in replay_pools(mixed, old)] == [0, 1]
    mixed.mixture.withdraw("world")
    assert [mixed.mixture.has_withdrawn(name) for name in ("world", "opus")] == [True, False]
    assert [pool.expert for pool in replay_pools(mixed, old)] == [None, 1]
