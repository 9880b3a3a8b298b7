"""Affine calibration: recovers known log-likelihood ratios, never turns scores around, stays finite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from molex_adapt.calibration import Calibration
from molex_adapt.errors import DataError
from molex_adapt.metrics import act_dcf, cllr, eer, min_dcf


def llrs(size, separation, seed):
    """Normal scores that are log-likelihood ratios: means at +-d^2/2, variance d^2."""
    rng = np.random.default_rng(seed)
    mean = separation**2 / 2
    return rng.normal(mean, separation, size), rng.normal(-mean, separation, size)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.02, 5.0), (40.0, -300.0)])
def test_known_log_likelihood_ratios_are_recovered(scale, offset):
    real, fake = llrs(40_000, 2.0, seed=1)
    calibration = Calibration.fit(real * scale + offset, fake * scale + offset)
    back = calibration.apply(np.array([-3.0, 0.0, 3.0]) * scale + offset)
    assert back == pytest.approx([-3.0, 0.0, 3.0], abs=0.15)


def test_class_sizes_do_not_move_the_result():
    real, fake = llrs(40_000, 2.0, seed=2)
    few = Calibration.fit(real[:4000], fake)
    assert few.apply([-2.0, 2.0]) == pytest.approx([-2.0, 2.0], abs=0.25)


@pytest.mark.parametrize("seed", range(20))
def test_cllr_does_not_rise_and_the_order_stays(seed):
    rng = np.random.default_rng(seed)
    real, fake = llrs(300, rng.uniform(0.5, 2.5), seed)
    scale, offset = rng.uniform(0.05, 20), rng.normal(0, 3)
    real, fake = real * scale + offset, fake * scale + offset
    calibration = Calibration.fit(real, fake)
    after = calibration.apply(real), calibration.apply(fake)
    assert cllr(*after) <= cllr(real, fake) + 1e-3
    assert cllr(*after) < 1
    assert eer(*after) == eer(real, fake)
    assert min_dcf(*after) == pytest.approx(min_dcf(real, fake), abs=1e-12)


def test_calibration_brings_actual_cost_to_the_minimum():
    real, fake = llrs(5000, 2.5, seed=3)
    bad = real * 7 - 30, fake * 7 - 30
    calibration = Calibration.fit(*bad)
    fresh = tuple(values * 7 - 30 for values in llrs(5000, 2.5, seed=4))
    assert act_dcf(*fresh) > 1.5 * min_dcf(*fresh)
    assert act_dcf(*map(calibration.apply, fresh)) < 1.08 * min_dcf(*fresh)


def test_fit_is_the_optimum():
    real, fake = llrs(4000, 2.0, seed=5)
    best = Calibration.fit(real, fake)
    lowest = cllr(best.apply(real), best.apply(fake))
    for scale, offset in [(1.1, 0), (0.9, 0), (1, 0.1), (1, -0.1)]:
        other = Calibration(best.scale * scale, best.offset + offset)
        assert cllr(other.apply(real), other.apply(fake)) > lowest


def test_separable_scores_claim_no_more_than_their_number_shows():
    sizes = {}
    for count in (10, 1000):
        real, fake = np.linspace(100, 101, count), np.linspace(-101, -100, count)
        calibration = Calibration.fit(real, fake)
        sizes[count] = calibration.apply(real).mean()
        assert calibration.apply(0.0) == pytest.approx(0, abs=1e-6)
        assert calibration.apply(fake).mean() == pytest.approx(-sizes[count])
    assert sizes[10] == pytest.approx(math.log(11), abs=0.1)
    assert sizes[1000] == pytest.approx(math.log(1001), abs=0.1)


def test_gaussians_claim_what_the_spread_of_bona_fide_speech_shows():
    real, fake = np.array([3.0, 4.0, 5.0, 6.0, 7.0]), np.array([-5.0, 5.0])
    calibration = Calibration.of_gaussians(real, fake)
    variance = 2.5 * (1 + 1 / 5) * 4 / 2
    assert calibration.scale == pytest.approx((5 - 0) / variance)
    assert calibration.apply(5.0) == pytest.approx(5**2 / variance / 2)
    assert calibration.apply(0.0) == pytest.approx(-(5**2) / variance / 2)
    real, fake = llrs(20000, 8.0, seed=5)
    many = Calibration.of_gaussians(real * 3 + 1, fake * 3 + 1)
    np.testing.assert_allclose(many.apply(real * 3 + 1), real, rtol=0.05, atol=0.3)


@pytest.mark.parametrize(
    ("real", "fake"),
    [([1.0, 2.0, 3.0], [0.0]), ([1.0] * 9, [0.0]), ([1.0, 2.0, 3.0, 4.0], [9.0]), ([1.0, 2, 3, 4], [])],
)
def test_gaussians_need_a_spread_and_the_right_sign(real, fake):
    with pytest.raises(DataError):
        Calibration.of_gaussians(real, fake)


def test_one_score_per_class_is_enough():
    calibration = Calibration.fit([3.0], [1.0])
    assert calibration.apply([3.0, 1.0]) == pytest.approx([math.log(2), -math.log(2)])


@pytest.mark.parametrize(
    ("real", "fake"),
    [([0.0, 1.0], [2.0, 3.0]), ([1.0, 1.0], [1.0, 1.0]), ([0.0, 2.0], [1.0, 1.0])],
)
def test_scores_of_the_wrong_sign_are_refused(real, fake):
    with pytest.raises(DataError, match="Expected bona fide above spoof"):
        Calibration.fit(real, fake)


@pytest.mark.parametrize(
    ("real", "fake"), [([], [1.0]), ([math.nan], [1.0]), ([2.0], [2.0]), ([1e-200], [0.0])]
)
def test_unusable_development_sets_are_refused(real, fake):
    with pytest.raises(DataError):
        Calibration.fit(real, fake)


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (-1.0, 0.0), (math.inf, 0.0), (1.0, math.nan)])
def test_an_impossible_calibration_cannot_be_made(scale, offset):
    with pytest.raises(DataError, match="positive scale"):
        Calibration(scale, offset)


def test_identity_changes_nothing():
    scores = np.array([[-1.5, 0.0], [2.0, 1e9]])
    assert np.array_equal(Calibration.identity().apply(scores), scores)


def test_outliers_do_not_stop_the_fit():
    real, fake = llrs(500, 2.0, seed=6)
    calibration = Calibration.fit(np.append(real, [60.0, -15.0]), np.append(fake, [-1000.0, 9.0]))
    assert 0.6 < calibration.scale < 1.4
    extreme = Calibration.fit(np.append(real, 1e30), np.append(fake, -1e30))
    assert extreme.scale > 0


def test_weights_count_as_repetitions_do():
    real, fake = llrs(200, 1.5, seed=3)
    twice = Calibration.fit(np.concatenate([real, real[:50] - 1, real[:50] - 1]), fake)
    weighted = Calibration.fit(
        np.concatenate([real, real[:50] - 1]),
        fake,
        weights=(np.repeat([1.0, 2.0], [200, 50]), np.full(200, 7.0)),
    )
    assert weighted.apply([-2.0, 2.0]) == pytest.approx(twice.apply([-2.0, 2.0]), abs=0.05)


@pytest.mark.parametrize(
    "weights", [([1.0], [1.0, 1.0]), ([1.0, 0.0], [1.0, 1.0]), ([1.0, np.nan], [1.0, 1.0])]
)
def test_unusable_weights_are_an_error(weights):
    with pytest.raises(DataError, match="Calibration weights"):
        Calibration.fit([1.0, 2.0], [0.0, -1.0], weights=weights)
