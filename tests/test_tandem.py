"""a-DCF, t-DCF and t-EER against frozen figures of the challenge's own packages, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt import metrics
from molex_adapt.errors import DataError
from molex_adapt.metrics import AsvRates

# What asvspoof-challenge/asvspoof5 (evaluation-package: a_dcf.py, calculate_modules.py) and asvspoof-challenge/2021
# (eval-package: eval_metrics.py) give for `trial_sets(seed, decimals)`: a-DCF, t-DCF 2019, t-DCF 2021, t-EER.
OFFICIAL = {
    (1, None): (0.7354938271604938, 0.43333333333333335, 0.6958746031946982, 0.22399999999999998),
    (2, None): (0.7989197530864198, 0.48, 0.6974584650518033, 0.23644444444444446),
    (3, 0): (0.8496913580246913, 0.5466666666666666, 0.682041909591908, 0.30340740740740746),
    (4, 1): (0.8746913580246913, 0.45333333333333325, 0.6627494440214335, 0.2234074074074074),
}


def spread(count, step, low, high, decimals):
    scores = low + (high - low) * ((np.arange(count) * step) % 1009) / 1009
    return scores if decimals is None else scores.round(decimals)


def trial_sets(seed, decimals=None):
    """Scores of a countermeasure, bona fide and spoof, and of ASV: target, nontarget, spoof."""
    return (
        spread(60 + seed, 7 + seed, -2.0, 5.0, decimals),
        spread(150, 11 + seed, -6.0, 2.0, decimals),
        spread(80, 13 + seed, -1.0, 6.0, decimals),
        spread(120 - seed, 17 + seed, -6.0, 1.5, decimals),
        spread(90, 19 + seed, -4.0, 5.0, decimals),
    )


@pytest.mark.parametrize("case", OFFICIAL)
def test_figures_equal_those_of_the_official_packages(case):
    real, fake, *trials = trial_sets(*case)
    asv = metrics.asv_rates(*trials)
    found = (
        metrics.a_dcf(*trials),
        metrics.min_t_dcf(real, fake, metrics.tandem_weights(asv, "2019")),
        metrics.min_t_dcf(real, fake, metrics.tandem_weights(asv, "2021")),
        metrics.t_eer(real, fake, *trials),
    )
    assert found == pytest.approx(OFFICIAL[case], abs=1e-6)


def test_a_dcf_is_the_cheapest_of_all_thresholds_under_other_costs():
    *_, target, nontarget, spoof = trial_sets(5, 1)
    costs = metrics.TrialCosts(0.5, 0.3, 0.2, 2.0, 3.0, 4.0)
    by_hand = [
        1.0 * np.mean(target < at) + 0.9 * np.mean(nontarget >= at) + 0.8 * np.mean(spoof >= at)
        for at in [*np.concatenate((target, nontarget, spoof)), np.inf]
    ]
    assert metrics.a_dcf(target, nontarget, spoof, costs=costs) == pytest.approx(
        min(by_hand) / 1.0, abs=1e-12
    )


def test_the_2021_formula_counts_what_asv_itself_costs():
    asv = AsvRates(miss=0.1, false_alarm=0.2, spoof_false_alarm=0.5, threshold=0.0)
    alone = 0.9405 * 0.1 + 0.095 * 0.2
    weights = metrics.tandem_weights(asv)
    assert weights.constant == pytest.approx(alone / (alone + 0.25))
    assert (weights.miss, weights.false_alarm) == pytest.approx(
        ((0.9405 - alone) / (alone + 0.25), 0.25 / (alone + 0.25))
    )
    # A perfect countermeasure leaves what ASV costs; by the formula of 2019, nothing.
    assert metrics.min_t_dcf([1.0, 2.0], [-1.0], weights) == weights.constant
    assert metrics.min_t_dcf([1.0, 2.0], [-1.0], metrics.tandem_weights(asv, "2019")) == 0.0


def test_asv_rates_are_those_at_its_own_equal_errors():
    found = metrics.asv_rates([1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 0.5, 2.5], [2.5, -3.0])
    # At 1.0 one target in four is rejected as it is reached, as are three nontargets; the rates then accept that score.
    assert found == AsvRates(miss=0.0, false_alarm=0.25, spoof_false_alarm=0.5, threshold=1.0)


@pytest.mark.parametrize(
    ("figure", "says"),
    [
        (lambda: metrics.a_dcf([1.0], [], [0.0]), "nontarget trials.*at least one finite score"),
        (lambda: metrics.a_dcf([np.nan], [0.0], [0.0]), "target trials have scores .* 1 are not finite"),
        (
            lambda: metrics.tandem_weights(AsvRates(0.1, 0.1, 0.0, 0.0), "2019"),
            "t-DCF does not exist.*0.0 % of spoofs",
        ),
        (lambda: metrics.tandem_weights(AsvRates(1.0, 1.0, 0.5, 0.0)), "t-DCF does not exist"),
        (lambda: metrics.tandem_weights(AsvRates(0.1, 0.1, 0.5, 0.0), "2015"), "no t-DCF '2015'.*2019, 2021"),
        (lambda: metrics.t_eer([1.0], [], [1.0], [0.0], [0.0]), "no spoof scores"),
        (lambda: metrics.TrialCosts(0.5, 0.5, 0.5, 1, 1, 1), "must be positive and sum"),
    ],
)
def test_no_figure_is_invented(figure, says):
    with pytest.raises(DataError, match=says):
        figure()


def by_one(draws, count, seed):
    """Counts of units, one resample at a time, to redo what the intervals do at once."""
    from molex_adapt.metrics.resampling import draw_units

    return [row for block in draw_units(draws, count, 60, seed) for row in block]


def test_intervals_of_costs_are_those_of_the_repeated_scores():
    real, fake, *trials = trial_sets(4, 1)
    asv = metrics.tandem_weights(metrics.asv_rates(*trials))
    strata = [np.arange(real.size), np.arange(real.size, real.size + fake.size)]
    found = {"min": [], "act": [], "cllr": [], "t": []}
    for row in by_one(strata, real.size + fake.size, 3):
        drawn = np.repeat(real, row[: real.size]), np.repeat(fake, row[real.size :])
        found["min"].append(metrics.min_dcf(*drawn))
        found["act"].append(metrics.act_dcf(*drawn))
        found["cllr"].append(metrics.cllr(*drawn))
        found["t"].append(metrics.min_t_dcf(*drawn, asv))
    edges = {name: pytest.approx(np.quantile(rates, [0.025, 0.975])) for name, rates in found.items()}
    intervals = metrics.cost_intervals(real, fake, bootstrap=60, seed=3)
    assert intervals.min_dcf == edges["min"]
    assert intervals.act_dcf == edges["act"]
    assert intervals.cllr == edges["cllr"]
    assert metrics.t_dcf_interval(real, fake, asv, bootstrap=60, seed=3) == edges["t"]


def test_the_interval_of_the_a_dcf_is_that_of_the_repeated_trials():
    *_, target, nontarget, spoof = trial_sets(4, 1)
    edges = np.cumsum([0, target.size, nontarget.size, spoof.size])
    strata = [np.arange(edges[at], edges[at + 1]) for at in range(3)]
    rates = [
        metrics.a_dcf(
            *(
                np.repeat(scores, row[part])
                for scores, part in zip((target, nontarget, spoof), strata, strict=True)
            )
        )
        for row in by_one(strata, int(edges[-1]), 1)
    ]
    found = metrics.a_dcf_interval(target, nontarget, spoof, bootstrap=60, seed=1)
    assert found == pytest.approx(np.quantile(rates, [0.025, 0.975]))
    assert found[0] < metrics.a_dcf(target, nontarget, spoof) < found[1]
