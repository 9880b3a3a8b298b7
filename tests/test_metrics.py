"""Metrics against a slow reference written from the definitions, on ties and off, and their intervals."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from molex_adapt import metrics
from molex_adapt.errors import DataError
from molex_adapt.metrics.bootstrap import _Units, _WeightedCurve

# Without ties; its figures are worked out by hand, the Cllr in 40-digit arithmetic.
REAL = [2.1, 1.4, 0.9, -0.3, -0.75, 3.0]
FAKE = [-2.2, -1.7, -0.6, 0.2, 1.1, -3.1, -0.9]


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


def draw(seed, decimals=None):
    rng = np.random.default_rng(seed)
    real = rng.normal(rng.uniform(-1, 3), 1.3, rng.integers(1, 90))
    fake = rng.normal(-0.5, rng.uniform(0.3, 2), rng.integers(1, 90))
    return (real, fake) if decimals is None else (real.round(decimals), fake.round(decimals))


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


# ---- intervals


def plain_bootstrap(real, fake, resamples, seed, ties):
    rng = np.random.default_rng(seed)
    return [
        metrics.eer(rng.choice(real, real.size), rng.choice(fake, fake.size), ties=ties)
        for _ in range(resamples)
    ]


@pytest.mark.parametrize("ties", ["asvspoof5", "step"])
@pytest.mark.parametrize("seed", range(8))
def test_a_resample_measures_as_its_scores_written_out_would(seed, ties):
    real, fake = draw(seed, decimals=0)
    units = _Units.of(real.size, fake.size, None)
    curve = _WeightedCurve.of(real, fake, units, ties)
    drawn = next(units.draw(20, seed))
    for weights, found in zip(drawn, curve.eers(drawn), strict=True):
        written = np.repeat(real, weights[: real.size]), np.repeat(fake, weights[real.size :])
        assert found == pytest.approx(metrics.eer(*written, ties=ties), abs=1e-12)


@pytest.mark.parametrize("ties", ["asvspoof5", "step"])
@pytest.mark.parametrize("decimals", [None, 1])
def test_interval_agrees_with_resampling_the_scores_themselves(decimals, ties):
    rng = np.random.default_rng(1)
    real, fake = rng.normal(1, 1, 80), rng.normal(-0.6, 1, 120)
    if decimals is not None:
        real, fake = real.round(decimals), fake.round(decimals)
    slow = np.quantile(plain_bootstrap(real, fake, 3000, 5, ties), [0.025, 0.975])
    fast = metrics.eer_interval(real, fake, bootstrap=20_000, seed=6, ties=ties)
    assert fast == pytest.approx(tuple(slow), abs=0.012)
    assert fast[0] < metrics.eer(real, fake, ties=ties) < fast[1]


def test_interval_covers_the_true_rate_about_as_often_as_it_says():
    truth = 0.5 * math.erfc(1 / math.sqrt(2))  # normals at -1 and 1: EER 15.9 %
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        low, high = metrics.eer_interval(
            rng.normal(1, 1, 120), rng.normal(-1, 1, 120), bootstrap=200, seed=trial, confidence=0.9
        )
        covered += low <= truth <= high
    assert 0.83 <= covered / 200 <= 0.97


def test_interval_repeats_with_its_seed_and_changes_with_another():
    real, fake = draw(11)
    assert metrics.eer_interval(real, fake, seed=3) == metrics.eer_interval(real, fake, seed=3)
    assert metrics.eer_interval(real, fake, seed=3) != metrics.eer_interval(real, fake, seed=5)


def test_copies_of_one_source_do_not_pass_for_independent_utterances():
    rng = np.random.default_rng(4)
    real, fake = rng.normal(1, 1, 50), rng.normal(-0.5, 1, 50)
    ids = [f"source{at}" for at in range(50)]
    copied = np.repeat(real, 10), np.repeat(fake, 10)
    groups = [name for name in ids for _ in range(10)]
    blind = metrics.eer_interval(*copied)
    honest = metrics.eer_interval(*copied, groups=(groups, [f"other {name}" for name in groups]))
    assert honest[1] - honest[0] > 2 * (blind[1] - blind[0])
    assert honest == pytest.approx(metrics.eer_interval(real, fake, seed=1), abs=0.03)


def test_sources_of_both_classes_are_drawn_whole():
    # Source i carries one bona fide and one spoof score, both equal to its offset plus or minus a little:
    # drawn together, the classes move together and the EER hardly changes.
    rng = np.random.default_rng(5)
    offset = rng.permutation(np.linspace(-3, 3, 60))
    real, fake, ids = offset + 0.01, offset - 0.01, [str(at) for at in range(60)]
    together = metrics.eer_interval(real, fake, groups=(ids, ids))
    apart = metrics.eer_interval(real, fake)
    assert together[1] - together[0] < 0.3 * (apart[1] - apart[0])


def test_an_empty_source_id_is_a_source_of_its_own():
    real, fake = draw(12)
    blank = [""] * real.size, [None] * fake.size
    assert metrics.eer_interval(real, fake, groups=blank) == metrics.eer_interval(real, fake)


def test_no_resample_loses_a_class():
    low, high = metrics.eer_interval([1.0, 2.0], [0.0], groups=(["a", "b"], ["a"]), bootstrap=500)
    assert low == high == 0.0


@pytest.mark.parametrize("change", [{"bootstrap": 0}, {"confidence": 1.0}, {"groups": (["a"], ["b"])}])
def test_impossible_intervals_are_refused(change):
    with pytest.raises(DataError):
        metrics.measure(REAL, FAKE, **change)


def test_thousand_resamples_of_a_thousand_scores_are_fast():
    rng = np.random.default_rng(7)
    real, fake = rng.normal(1, 1, 500), rng.normal(-1, 1, 500)
    start = time.process_time()
    metrics.measure(real, fake, bootstrap=1000)
    assert time.process_time() - start < 1.0


def test_large_sets_are_drawn_in_pieces_with_the_same_result(monkeypatch):
    real, fake = draw(13)
    whole = metrics.eer_interval(real, fake, bootstrap=100)
    monkeypatch.setattr("molex_adapt.metrics.bootstrap._WEIGHTS_AT_ONCE", 7 * (real.size + fake.size))
    pieces = metrics.eer_interval(real, fake, bootstrap=100)
    assert pieces == pytest.approx(whole, abs=0.05)


# ---- paired change


def test_paired_change_is_the_difference_with_a_tighter_interval():
    rng = np.random.default_rng(8)
    real, fake = rng.normal(1, 1, 200), rng.normal(-1, 1, 200)
    better = real + 0.3 + rng.normal(0, 0.05, 200)
    change, (low, high) = metrics.paired_change(real, fake, better, fake)
    assert change == pytest.approx(metrics.eer(better, fake) - metrics.eer(real, fake), abs=1e-12)
    assert low <= change <= high < 0
    alone = metrics.eer_interval(real, fake)
    assert high - low < 0.7 * (alone[1] - alone[0])


def test_paired_change_of_a_detector_with_itself_is_zero():
    assert metrics.paired_change(REAL, FAKE, REAL, FAKE) == (0.0, (0.0, 0.0))


def test_paired_change_needs_the_same_utterances():
    with pytest.raises(DataError, match="6 bona fide and 7 spoof scores, after 5 and 7"):
        metrics.paired_change(REAL, FAKE, REAL[:5], FAKE)


# ---- breakdowns


def labelled():
    scores = np.array([*REAL, *FAKE])
    real = np.arange(13) < 6
    attacks = [None] * 6 + ["A02", "A01", "A01", "A02", "A01", "", None]
    return scores, real, attacks


def test_each_attack_meets_all_bona_fide():
    scores, real, attacks = labelled()
    parts = metrics.measure_by_attack(scores, real, attacks, bootstrap=20)
    assert parts["overall"] == metrics.measure(REAL, FAKE, bootstrap=20)
    assert list(parts["by_attack"]) == ["A01", "A02"]
    assert parts["by_attack"]["A01"] == metrics.measure(REAL, [-1.7, -0.6, 1.1], bootstrap=20)
    assert (parts["by_attack"]["A02"].bona_fide, parts["by_attack"]["A02"].spoof) == (6, 2)


def test_a_name_on_a_bona_fide_row_does_not_make_it_an_attack():
    scores, real, attacks = labelled()
    attacks[:6] = ["bonafide"] * 5 + ["A01"]
    parts = metrics.measure_by_attack(scores, real, attacks, bootstrap=20)
    assert list(parts["by_attack"]) == ["A01", "A02"]
    assert parts["by_attack"]["A01"].bona_fide == 6


def test_groups_follow_their_rows_into_each_attack():
    scores, real, attacks = labelled()
    ids = [f"s{at % 5}" for at in range(13)]
    parts = metrics.measure_by_attack(scores, real, attacks, groups=ids, bootstrap=50)
    alone = metrics.measure(
        REAL, [-1.7, -0.6, 1.1], groups=(ids[:6], [ids[7], ids[8], ids[10]]), bootstrap=50
    )
    assert parts["by_attack"]["A01"] == alone


def test_a_condition_is_measured_alone_and_one_class_is_not_measured():
    scores, real, _ = labelled()
    codecs = ["mp3"] * 3 + ["none"] * 3 + ["mp3"] * 4 + ["opus"] * 2 + [None]
    parts = metrics.measure_by_condition(scores, real, codecs, bootstrap=20)
    assert parts["opus"] is None
    assert parts["none"] is None
    assert parts["mp3"] == metrics.measure(REAL[:3], FAKE[:4], bootstrap=20)


def test_columns_must_fit():
    scores, real, attacks = labelled()
    with pytest.raises(DataError, match="13 scores but 12 label entries"):
        metrics.measure_by_attack(scores, real[:-1], attacks)
    with pytest.raises(DataError, match="13 scores but 12 attack entries"):
        metrics.measure_by_attack(scores, real, attacks[:-1])
    with pytest.raises(DataError, match="13 scores but 1 source entries"):
        metrics.measure_by_attack(scores, real, attacks, groups=["a"])
    with pytest.raises(DataError, match="Expected booleans"):
        metrics.measure_by_attack(scores, ["bonafide"] * 13, attacks)


def test_the_mean_eer_of_one_set_is_its_eer():
    real, fake = np.array([3.0, 2.0, 1.0, 0.4]), np.array([0.0, 1.5, -1.0, -2.0])
    groups = (["a", "b", "c", "d"], ["a", "b", "c", "d"])
    mean, (low, high) = metrics.mean_eer_interval([(real, fake, groups)], bootstrap=200)
    assert mean == metrics.eer(real, fake)
    assert low <= mean <= high


def test_the_mean_eer_draws_shared_sources_together():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(1, 1, 200), rng.normal(-1, 1, 200)
    names = [f"s{row}" for row in range(200)]
    other = [f"t{row}" for row in range(200)]
    shared = metrics.mean_eer_interval([(real, fake, (names, names))] * 2)
    single = metrics.mean_eer_interval([(real, fake, (names, names))])
    apart = metrics.mean_eer_interval([(real, fake, (names, names)), (real, fake, (other, other))])
    width = [high - low for _, (low, high) in (shared, single, apart)]
    assert shared == single
    assert width[2] < 0.85 * width[1]


def test_the_mean_eer_of_too_few_sources_is_an_error():
    with pytest.raises(DataError, match="lost a class"):
        metrics.mean_eer_interval([([1.0], [0.0], (["a"], ["b"]))])
