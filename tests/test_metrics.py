"""Metrics against a slow reference written from the definitions, on ties and off."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from molex_adapt import metrics
from molex_adapt.errors import DataError
from tests.scores import FAKE, REAL, draw


def sorted_walk(real, fake):
    """The ASVspoof 5 walk over single utterances, bona fide first on ties: [(miss, false alarm), ...]."""
    walk = sorted([(score, 0) for score in real] + [(score, 1) for score in fake])
    missed, caught, points = 0, 0, [(0.0, 1.0)]
    for _, kind in walk:
        missed, caught = missed + (kind == 0), caught + kind
        points.append((missed / len(real), (len(fake) - caught) / len(fake)))
    return points


def step_walk(real, fake):
    """Every decision 'accept if score >= threshold', one per distinct score and one that rejects all."""
    points = []
    for threshold in [*sorted({*real, *fake}), math.inf]:
        missed = sum(score < threshold for score in real)
        accepted = sum(score >= threshold for score in fake)
        points.append((missed / len(real), accepted / len(fake)))
    return points


def reference_eer(points):
    best = min(abs(miss - false_alarm) for miss, false_alarm in points)
    miss, false_alarm = next(point for point in points if abs(point[0] - point[1]) == best)
    return (miss + false_alarm) / 2


def reference_dcf(points, p_spoof=0.05, c_miss=1.0, c_fa=10.0):
    costs = [c_miss * miss * (1 - p_spoof) + c_fa * fa * p_spoof for miss, fa in points]
    return min(costs) / min(c_miss * (1 - p_spoof), c_fa * p_spoof)


def reference_act_dcf(real, fake, p_spoof=0.05, c_miss=1.0, c_fa=10.0):
    threshold = -math.log(c_miss * (1 - p_spoof) / (c_fa * p_spoof))
    miss = sum(score < threshold for score in real) / len(real)
    accepted = sum(score >= threshold for score in fake) / len(fake)
    return reference_dcf([(miss, accepted)], p_spoof, c_miss, c_fa)


def reference_cllr(real, fake):
    missed = sum(math.log2(1 + math.exp(-score)) for score in real) / len(real)
    accepted = sum(math.log2(1 + math.exp(score)) for score in fake) / len(fake)
    return (missed + accepted) / 2


@pytest.mark.parametrize("seed", range(40))
def test_scores_without_ties_measure_as_in_the_asvspoof5_package(seed):
    real, fake = draw(seed)
    points = sorted_walk(real, fake)
    rates = metrics.measure(real, fake, bootstrap=5)
    assert rates.eer == pytest.approx(reference_eer(points), abs=1e-12)
    assert rates.min_dcf == pytest.approx(reference_dcf(points), abs=1e-12)
    assert rates.act_dcf == pytest.approx(reference_act_dcf(real, fake), abs=1e-12)
    assert rates.cllr == pytest.approx(reference_cllr(real, fake), abs=1e-12)
    assert (rates.bona_fide, rates.spoof) == (real.size, fake.size)


@pytest.mark.parametrize("seed", range(40))
def test_tied_scores_measure_as_in_the_package_and_fall_together_on_request(seed):
    real, fake = draw(seed, decimals=0)
    step, walk = step_walk(real, fake), sorted_walk(real, fake)
    assert metrics.eer(real, fake) == reference_eer(walk) == metrics.measure(real, fake, bootstrap=5).eer
    assert metrics.eer(real, fake, ties="step") == pytest.approx(reference_eer(step), abs=1e-12)
    assert metrics.min_dcf(real, fake) == pytest.approx(reference_dcf(step), abs=1e-12)
    assert metrics.min_dcf(real, fake) == pytest.approx(reference_dcf(walk), abs=1e-12)
    assert metrics.act_dcf(real, fake) == pytest.approx(reference_act_dcf(real, fake), abs=1e-12)
    assert metrics.cllr(real, fake) == pytest.approx(reference_cllr(real, fake), abs=1e-12)


def test_frozen_values():
    assert metrics.eer(REAL, FAKE) == pytest.approx((2 / 6 + 2 / 7) / 2, abs=1e-12)
    # Reject all but the three spoofs from -0.6 up, of the bona fide only -0.75: (0.95/6 + 0.5*3/7) / 0.5.
    assert metrics.act_dcf(REAL, FAKE) == pytest.approx(0.95 / 6 / 0.5 + 3 / 7, abs=1e-12)
    # Cheapest is to accept down to -0.75: no bona fide missed, three spoofs accepted, 0.5 * 3/7 / 0.5.
    assert metrics.min_dcf(REAL, FAKE) == pytest.approx(3 / 7, abs=1e-12)
    assert metrics.cllr(REAL, FAKE) == pytest.approx(0.66474968184240500202, abs=1e-12)


def test_swapped_polarity_shows_and_is_not_flipped():
    assert metrics.eer(FAKE, REAL) == pytest.approx(reference_eer(sorted_walk(FAKE, REAL)), abs=1e-12)
    assert metrics.eer(FAKE, REAL) > 0.6
    assert metrics.eer([0.0, 1.0], [2.0, 3.0]) == 1.0
    assert metrics.min_dcf([0.0, 1.0], [2.0, 3.0]) == 1.0
    assert metrics.cllr(FAKE, REAL) > 1


def test_frozen_values_of_tied_scores():
    """Worked out by hand from the package's order: bona fide before spoof where scores tie."""
    real, fake = [1, 1, 1, 2, 2, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 2, -1, -1]
    # -1: 2 spoofs caught (0, 0.8). 0: 3 missed (0.375, 0.8), then 4 caught (0.375, 0.4); nothing is nearer.
    assert metrics.eer(real, fake) == metrics.eer(real, fake, ties="step") == (0.375 + 0.4) / 2
    # -1: (0, 0.8). 0: the three bona fide first (0.6, 0.8), then the spoofs, by (0.6, 0.6), to (0.6, 0.2): one step.
    real, fake = [0, 0, 0, 1, 1], [0, 0, 0, 1, -1]
    assert metrics.eer(real, fake) == (3 / 5 + 3 / 5) / 2
    assert metrics.eer(real, fake, ties="step") == (3 / 5 + 1 / 5) / 2


def test_constant_scores_are_a_coin_toss_only_as_a_step():
    assert metrics.eer(np.ones(5), np.ones(9), ties="step") == 0.5
    assert metrics.eer(np.ones(5), np.ones(9)) == 1.0
    assert metrics.cllr(np.zeros(5), np.zeros(9)) == pytest.approx(1, abs=1e-15)
    assert metrics.min_dcf(np.ones(5), np.ones(9)) == 1.0


def test_order_of_the_utterances_does_not_matter():
    real, fake = draw(3, decimals=0)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(real), rng.permutation(fake)
    for ties in ("step", "asvspoof5"):
        assert metrics.eer(*shuffled, ties=ties) == metrics.eer(real, fake, ties=ties)


def test_cllr_survives_scores_that_overflow_an_exponential():
    assert metrics.cllr([-2000.0], [-2000.0]) == pytest.approx(1000 / math.log(2))


def test_an_unknown_reading_of_ties_is_refused():
    with pytest.raises(DataError, match="no reading of ties 'bona_fide_first'.*asvspoof5, step"):
        metrics.eer(REAL, FAKE, ties="bona_fide_first")


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("seed", range(10))
def test_every_threshold_of_the_curve_realises_its_point(seed, decimals):
    real, fake = draw(seed, decimals)
    curve = metrics.det_curve(real, fake, ties="step")
    for miss, false_alarm, threshold in zip(curve.miss, curve.false_alarm, curve.thresholds, strict=True):
        assert metrics.error_rates(real, fake, threshold) == pytest.approx((miss, false_alarm), abs=1e-12)
    at_threshold = metrics.error_rates(real, fake, metrics.eer_threshold(real, fake))
    assert sum(at_threshold) / 2 == pytest.approx(metrics.eer(real, fake, ties="step"), abs=1e-12)


def test_threshold_between_neighbouring_floats_still_separates_them():
    low, high = 1.0, np.nextafter(1.0, 2.0)
    assert metrics.error_rates([high], [low], metrics.eer_threshold([high], [low])) == (0.0, 0.0)


def test_eer_threshold_lies_midway_so_rounding_does_not_cross_it():
    assert metrics.eer_threshold([3.0, 4.0], [-1.0, 1.0]) == 2.0


def test_error_rates_name_the_two_errors():
    assert metrics.error_rates([1.0, 2.0, 3.0, 4.0], [0.0, 2.0], 2.0) == (0.25, 0.5)


def test_costs_of_asvspoof5():
    costs = metrics.ASVSPOOF5
    assert (costs.p_spoof, costs.c_miss, costs.c_fa) == (0.05, 1.0, 10.0)
    assert costs.bayes_threshold == pytest.approx(-0.6418538861723947, abs=1e-12)


def test_other_costs_reach_both_dcfs():
    costs = metrics.Costs(p_spoof=0.5, c_miss=1, c_fa=1)
    assert metrics.min_dcf(REAL, FAKE, costs=costs) == pytest.approx(
        reference_dcf(step_walk(REAL, FAKE), 0.5, 1, 1)
    )
    assert metrics.act_dcf(REAL, FAKE, costs=costs) == pytest.approx(reference_act_dcf(REAL, FAKE, 0.5, 1, 1))


@pytest.mark.parametrize("costs", [(0.0, 1, 1), (1.0, 1, 1), (0.1, 0, 1), (0.1, 1, -1), (math.nan, 1, 1)])
def test_impossible_costs_are_refused(costs):
    with pytest.raises(DataError, match="p_spoof must lie between"):
        metrics.Costs(*costs)


FIGURES = [
    metrics.eer,
    metrics.eer_threshold,
    metrics.min_dcf,
    metrics.act_dcf,
    metrics.cllr,
    metrics.det_curve,
    metrics.measure,
    lambda real, fake: metrics.error_rates(real, fake, 0.0),
    lambda real, fake: metrics.paired_change([1.0], [0.0], real, fake),
]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("real", "fake", "says"),
    [
        ([], [1.0], "no bona fide scores"),
        ([1.0], [], "no spoof scores"),
        ([1.0, math.nan], [0.0], "1 of 2 bona fide scores are not finite .first: nan at index 1"),
        ([1.0], [0.0, -math.inf], "spoof scores are not finite .first: -inf"),
        ([[1.0, 2.0]], [0.0], "shape"),
        (["high"], [0.0], "not numbers"),
    ],
)
def test_no_figure_is_invented(figure, real, fake, says):
    with pytest.raises(DataError, match=says):
        figure(real, fake)


def test_json_form_has_the_contract_keys():
    rates = metrics.measure(REAL, FAKE, bootstrap=20).as_dict()
    assert list(rates) == ["eer", "eer_ci", "min_dcf", "act_dcf", "cllr", "bona_fide", "spoof"]
    assert json.loads(json.dumps(rates)) == rates
