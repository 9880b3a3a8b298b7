"""Calibrations that follow the mixture, and thresholds that keep their error rates."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt.calibration import Calibration
from molex_adapt.metrics import error_rates
from molex_adapt.train import calibrate
from molex_adapt.train.calibrate import (
    DevelopmentScores,
    equal_weights,
    frozen_threshold,
    held_at,
    holding_boundary,
    refusing_threshold,
    score_development,
    spare,
)


@pytest.fixture
def scored():
    random = np.random.default_rng(0)
    bona_fide = np.repeat([True, False], 200)
    before = np.where(bona_fide, random.normal(2, 2, 400), random.normal(-2, 2, 400))
    weights = np.full(400, 1 / 200)
    return before, bona_fide, weights


def rates(scores, bona_fide, threshold):
    return error_rates(scores[bona_fide], scores[~bona_fide], threshold)


def test_a_calibration_stays_but_for_real_speech_that_would_be_refused(detector_of, features_of, tiny_recipe):
    detector, stays = detector_of(tiny_recipe(), "world"), Calibration(1.3, 0.4)
    detector.calibration = stays
    clips = features_of(40)
    whole = score_development(detector, {"new": clips})  # forged speech counts for nothing
    real = {"new": clips.pick(clips.of_class(True))}
    held = DevelopmentScores(real, whole.scores[clips.bona_fide.numpy()])
    fourth = float(np.sort(held.scores)[3])
    for threshold in (fourth - 1e-3, fourth + 1e-3):  # three refused, or four
        for rose in (0.0, 2.0):
            detector.calibration = Calibration(1.3, 0.4 + rose)
            spare(detector, held, threshold)
            assert detector.calibration == Calibration(1.3, 0.4 + rose)
        detector.calibration = Calibration(1.3, -1.1)
        spare(detector, held, threshold)
        after = score_development(detector, real).scores
        assert (after < threshold).sum() == (held.scores < threshold).sum()
        assert -1.1 < detector.calibration.offset <= 0.4 + 1e-3
    detector.calibration = stays
    spare(detector, held, 100.0)  # all are refused as it is
    assert detector.calibration == stays


@pytest.mark.parametrize("threshold", [-1.5, 0.0, 1.0])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.3, 5.0), (4.0, -7.0)])
def test_scores_that_only_moved_keep_their_error_rates(scored, threshold, scale, offset):
    before, bona_fide, weights = scored
    after = scale * before + offset
    boundary = holding_boundary(before, after, bona_fide, weights, threshold)
    held = held_at(Calibration(0.7, 0.1), threshold, boundary)
    assert held.scale == 0.7
    assert rates(held.apply(after), bona_fide, threshold) == rates(before, bona_fide, threshold)


def test_where_separation_is_lost_both_rates_pay_and_neither_all(scored):
    before, bona_fide, weights = scored
    after = before + np.random.default_rng(1).normal(0, 3, len(before)) + 10
    boundary = holding_boundary(before, after, bona_fide, weights, 0.0)
    old, new = rates(before, bona_fide, 0.0), rates(after, bona_fide, boundary)
    assert sum(new) > sum(old)
    assert abs(new[0] - old[0]) + abs(new[1] - old[1]) <= sum(new) - sum(old) + 0.02


def test_between_classes_far_apart_the_threshold_stays_where_it_was_beside_the_real_ones():
    bona_fide = np.repeat([True, False], 8)
    before = np.concatenate([np.linspace(3, 5, 8), np.linspace(-9, -7, 8)])
    # One deviation of real speech is 0.65: the threshold lies 4.6 of them below the mean, near the real ones.
    for scale, offset in ((1.0, 0.0), (2.0, 3.0)):
        boundary = holding_boundary(before, scale * before + offset, bona_fide, np.full(16, 1 / 8), 1.0)
        assert boundary == pytest.approx(scale * 1.0 + offset)
    after = np.concatenate([np.linspace(3, 5, 8), np.linspace(-90, -70, 8)])
    assert holding_boundary(before, after, bona_fide, np.full(16, 1 / 8), 1.0) == pytest.approx(1.0)


def test_a_domain_weighs_the_same_however_many_utterances_it_has(features_of):
    large, small = features_of(12), features_of(4, seed=1)
    weights = equal_weights([large, small])
    real = np.concatenate([large.bona_fide.numpy(), small.bona_fide.numpy()])
    own = weights[: len(large)][real[: len(large)]].sum()
    assert own == pytest.approx(0.5)
    assert weights[real].sum() == pytest.approx(1) and weights[~real].sum() == pytest.approx(1)


@pytest.mark.parametrize(("share", "refused"), [(0.0, 0), (0.04, 4), (0.049, 4), (0.3, 30)])
def test_a_threshold_refuses_at_most_the_share_that_was_asked_for(share, refused):
    scores = np.random.default_rng(0).permutation(100.0 * np.arange(100))
    assert (scores < refusing_threshold(scores, share)).sum() == refused


def test_equal_scores_at_the_threshold_are_accepted():
    scores = np.array([1.0] * 5 + [2.0] * 5)
    assert refusing_threshold(scores, 0.3) == 1.0


def test_a_first_threshold_errs_alike_but_refuses_no_more_than_its_share(
    scored, monkeypatch, detector_of, tiny_recipe
):
    logits, bona_fide, _ = scored
    detector = detector_of(tiny_recipe(), "world")
    detector.calibration = Calibration(2.0, 1.0)
    monkeypatch.setattr(calibrate, "_logits", lambda *_: (logits, bona_fide))
    alike = frozen_threshold(detector, [])
    miss, false_alarm = rates(2 * logits + 1, bona_fide, alike)
    assert miss == pytest.approx(false_alarm, abs=0.01) and miss > 0.1
    lower = frozen_threshold(detector, [], 0.03)
    assert rates(2 * logits + 1, bona_fide, lower)[0] == 0.03 and lower < alike
    # Where the classes lie apart, the limit is kept between them, and real speech keeps its distance.
    monkeypatch.setattr(
        calibrate, "_logits", lambda *_: (np.where(bona_fide, 20 + logits, logits), bona_fide)
    )
    assert frozen_threshold(detector, [], 0.03) == frozen_threshold(detector, [])
