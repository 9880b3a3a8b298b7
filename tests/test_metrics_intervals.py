"""Intervals of metrics against resampling written out, changes between two detectors, and parts of a set."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

from molex_adapt import metrics
from molex_adapt.errors import DataError
from molex_adapt.metrics.resampling import Units
from molex_adapt.metrics.weighted_curve import WeightedCurve
from tests.scores import FAKE, REAL, draw


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
    units = Units.of(real.size, fake.size, None)
    curve = WeightedCurve.of(real, fake, units, ties)
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
    low, high = metrics.eer_interval([1.0, 2.0], [1.5], groups=(["a", "b"], ["a"]), bootstrap=500)
    assert 0 <= low <= high <= 1  # a resample without a class has no EER


def test_where_classes_do_not_overlap_the_bound_is_that_of_their_number():
    """The rule of three: of nothing in 100 trials, at most 3 % with 95 % confidence."""
    real, fake = np.linspace(1, 2, 200), np.linspace(-2, -1, 100)
    assert metrics.eer_interval(real, fake) == (0.0, pytest.approx(0.0295, abs=1e-4))
    assert metrics.eer_interval(fake, real) == (pytest.approx(0.9705, abs=1e-4), 1.0)
    of_ten = [str(at % 10) for at in range(200)], [str(at % 10) for at in range(100)]
    assert metrics.eer_interval(real, fake, groups=of_ten) == (0.0, pytest.approx(0.2589, abs=1e-4))
    rates, _ = metrics.measure_with_intervals(real, fake)
    assert rates.eer_ci == (0.0, pytest.approx(0.0295, abs=1e-4))


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
    groups = [str(at // 2) for at in range(real.size)], [str(at) for at in range(fake.size)]
    whole = metrics.eer_interval(real, fake, bootstrap=100, groups=groups)
    monkeypatch.setattr("molex_adapt.metrics.resampling._WEIGHTS_AT_ONCE", 7 * (real.size + fake.size))
    assert metrics.eer_interval(real, fake, bootstrap=100, groups=groups) == whole
    monkeypatch.setattr("molex_adapt.metrics.resampling._DRAWN_AT_ONCE", 9 * (real.size + fake.size))
    assert metrics.eer_interval(real, fake, bootstrap=100, groups=groups) == pytest.approx(whole, abs=0.05)


def test_memory_of_intervals_is_bounded_however_many_scores_there_are():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(1, 1, 10_000), rng.normal(-1, 1, 3000)
    tracemalloc.start()
    metrics.paired_change(real, fake, real + 1, fake, bootstrap=200)
    metrics.measure_with_intervals(real, fake, bootstrap=200)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 50 * 2**20, "2.6 million weights and all that is made of them took 240 MiB at once"


@pytest.mark.parametrize("ties", ["asvspoof5", "step"])
@pytest.mark.parametrize("decimals", [None, 0])
def test_one_pass_of_resamples_gives_the_intervals_of_the_eer_and_of_the_costs(monkeypatch, ties, decimals):
    real, fake = draw(14, decimals=decimals)
    groups = [str(at // 3) for at in range(real.size)], [str(at) for at in range(fake.size)]
    of_eer = metrics.eer_interval(real, fake, bootstrap=80, seed=2, groups=groups, ties=ties)
    of_costs = metrics.cost_intervals(real, fake, bootstrap=80, seed=2, groups=groups)
    passes = []
    draws = Units.draw
    monkeypatch.setattr(Units, "draw", lambda *given: passes.append(given) or draws(*given))
    rates, found = metrics.measure_with_intervals(real, fake, bootstrap=80, seed=2, groups=groups, ties=ties)
    assert (rates.eer_ci, found) == (of_eer, of_costs)
    assert len(passes) == 1
    assert rates == metrics.measure(real, fake, bootstrap=80, seed=2, groups=groups, ties=ties)


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


@pytest.mark.parametrize("voices", [8, 30])
def test_a_threshold_for_new_voices_mostly_holds_for_them(voices):
    """Without a further voice like the worst it fails for 31 of 100 sets of eight voices."""
    rng, share, sets = np.random.default_rng(1), 0.02, 150
    names, exceeded = [str(at // 20) for at in range(20 * voices)], 0
    for _ in range(sets):
        scores = np.repeat(0.7 * rng.standard_normal(voices), 20) + rng.standard_normal(20 * voices)
        found = metrics.threshold_for_new_voices(scores, names, share, bootstrap=400)
        exceeded += norm.cdf(found / np.sqrt(1 + 0.7**2)) > share
    assert exceeded < 0.2 * sets


def test_a_threshold_for_new_voices_leaves_room_for_the_worst_of_them():
    noise = np.random.default_rng(3)
    shifts = noise.normal(0, 2, 40)
    voices = [f"v{at % 40}" for at in range(4000)]
    scores = noise.normal(0, 1, 4000) + np.tile(shifts, 100)
    found = metrics.threshold_for_new_voices(scores, voices, 0.05)
    assert found in scores
    pooled = np.sort(scores)[200]
    assert found < pooled
    # Drawn by recordings, the share would hardly be lower: it is the voices that differ.
    alone = metrics.threshold_for_new_voices(scores, [str(at) for at in range(4000)], 0.05)
    assert found < alone < pooled
    # Of forty other voices like these, the share holds in nearly all cases; the pooled quantile exceeds it in half.
    exceeded = {found: 0, pooled: 0}
    for _ in range(200):
        others = noise.normal(0, 1, 4000) + np.repeat(noise.choice(shifts, 40), 100)
        for threshold in exceeded:
            exceeded[threshold] += bool((others < threshold).mean() > 0.05)
    assert exceeded[found] <= 30 < exceeded[pooled]
    assert metrics.threshold_for_new_voices([1.0, 2.0], ["a", "b"], 0.0) == 1.0
    for bad in ([], [np.nan, 1.0], [1.0]):
        with pytest.raises(DataError, match="as many finite scores as voices"):
            metrics.threshold_for_new_voices(bad, ["a", "b"], 0.1)


def test_paired_refusals_count_the_same_recordings_under_two_detectors():
    before = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])
    after = np.array([1.0, -1.0, -1.0, 1.0, -1.0, 1.0])
    found = metrics.paired_refusals(before, after, 0.0, ["a", "b", "c", "d", "e", "f"])
    assert (found.before, found.after, found.bona_fide, found.sources) == (2 / 6, 3 / 6, 6, 6)
    assert found.rise == pytest.approx(1 / 6)
    assert found.interval[0] < 0 < found.interval[1]
    together = metrics.paired_refusals(before, after, 0.0, ["a"] * 6)
    assert together.interval == pytest.approx((1 / 6, 1 / 6))  # one source: nothing varies
    assert found.as_dict()["interval"] == list(found.interval)
    with pytest.raises(DataError, match="same utterances in the same order"):
        metrics.paired_refusals(before, after, 0.0, ["a"])


def test_changes_to_several_detectors_are_those_to_each_of_them():
    rng = np.random.default_rng(5)
    real, fake = rng.normal(1, 1, 50), rng.normal(-1, 1, 70)
    groups = [str(at % 25) for at in range(50)], [str(at % 25) for at in range(70)]
    others = [(real + rng.normal(0, 0.5, 50), fake + shift) for shift in (0.0, 0.5, 2.0)]
    found = metrics.paired_changes((real, fake), others, bootstrap=80, seed=3, groups=groups)
    for other, change in zip(others, found, strict=True):
        assert change == metrics.paired_change(real, fake, *other, bootstrap=80, seed=3, groups=groups)
    assert found[2][1][0] > 0
    assert metrics.paired_changes((real, fake), []) == []


def test_of_many_comparisons_chance_alone_makes_none_worse():
    """Of forty voices, as many recordings become refused as become accepted."""
    generator, certain = np.random.default_rng(0), {1: 0, 40: 0}
    for _ in range(150):
        before = np.where(generator.random(60) < 0.05, -1.0, 1.0)
        after = np.where(generator.random(60) < 0.05, -1.0, 1.0)
        for comparisons in certain:
            found = metrics.paired_refusals(
                before, after, 0.0, list(map(str, range(60))), comparisons=comparisons
            )
            certain[comparisons] += found.interval[0] > 0
    assert certain[40] == 0 < certain[1]
