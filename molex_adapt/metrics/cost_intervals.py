"""Bootstrap intervals of detection costs: minDCF, actDCF, Cllr, t-DCF, a-DCF. The resamples are those of the EER.

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.metrics.curve import ASVSPOOF5, Costs, Floats, Ties, checked_scores
from molex_adapt.metrics.resampling import (
    Groups,
    Units,
    check_settings,
    draw_units,
    percentiles,
    running,
    running_weights,
)
from molex_adapt.metrics.tandem import A_DCF, TandemWeights, TrialCosts, a_dcf_cost, checked_trials
from molex_adapt.metrics.weighted_curve import WeightedCurve

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CostIntervals:
    """Percentile intervals of figures whose values `Rates` has."""

    min_dcf: Interval
    act_dcf: Interval
    cllr: Interval
    """Bits."""

    def as_dict(self) -> dict[str, list[float]]:
        """As JSON values."""
        return {name: list(pair) for name, pair in asdict(self).items()}


def cost_intervals(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> CostIntervals:
    """Intervals of minDCF, actDCF and Cllr.

    Args:
        bona_fide, spoof: (N,) and (M,) scores in nats.
        costs: of both DCFs.
        bootstrap, seed, confidence, groups: see `eer_interval`.

    Raises:
        DataError: as `eer_interval`.

    Source: own; Efron and Tibshirani 1993, chapter 13.
    """
    _, found = eer_and_cost_intervals(
        bona_fide,
        spoof,
        costs=costs,
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        groups=groups,
        ties="step",
    )
    return found


def eer_and_cost_intervals(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> tuple[Interval, CostIntervals]:
    """`eer_interval` and `cost_intervals` from the same resamples, in the time of one of them.

    Arguments and errors as there; `ties` matters for the EER only. Source: own.
    """
    real, fake = checked_scores(bona_fide, spoof)
    check_settings(bootstrap, confidence)
    units = Units.of(real.size, fake.size, groups)
    curve = WeightedCurve.of(real, fake, units, ties)
    miss_weight, false_alarm_weight = (
        weight / costs.default_cost for weight in (costs.miss_weight, costs.false_alarm_weight)
    )
    sums = _unit_sums(real, fake, units, costs.bayes_threshold)
    eers, low, actual, bits = [], [], [], []
    for drawn in units.draw(bootstrap, seed):
        miss, false_alarm = curve.rates(drawn)
        # The other reading of ties adds points that cost at least as much.
        low.append((miss_weight * miss + false_alarm_weight * false_alarm).min(axis=1))
        reals, missed, real_bits, fakes, accepted, fake_bits = (drawn @ sums).T
        eers.append(curve.eers_of(miss, false_alarm, reals, fakes))
        actual.append(miss_weight * missed / reals + false_alarm_weight * accepted / fakes)
        bits.append(real_bits / reals + fake_bits / fakes)
    eer, *found = (percentiles(np.concatenate(rows), confidence) for rows in (eers, low, actual, bits))
    return eer, CostIntervals(*found)


def _unit_sums(real: Floats, fake: Floats, units: Units, threshold: float) -> Floats:
    """(U, 6) sums over the scores of each unit, of bona fide speech and then of spoofs.

    They are the number of scores, of those that are decided wrongly, and the share of Cllr in bits.
    """
    classes = (
        (units.real, real < threshold, np.logaddexp(0.0, -real)),
        (units.fake, fake >= threshold, np.logaddexp(0.0, fake)),
    )
    columns = [
        np.bincount(unit, weights=own, minlength=units.count)
        for unit, wrong, nats in classes
        for own in (None, wrong, nats / (2 * math.log(2)))
    ]
    return np.stack(columns, axis=1)


def t_dcf_interval(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    weights: TandemWeights,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> Interval:
    """Interval of `min_t_dcf`: the countermeasure's utterances are drawn anew, the ASV system stays fixed.

    Arguments and errors as `eer_interval`, with `weights` from `tandem_weights`. Source: own.
    """
    real, fake = checked_scores(bona_fide, spoof)
    check_settings(bootstrap, confidence)
    units = Units.of(real.size, fake.size, groups)
    curve = WeightedCurve.of(real, fake, units, "step")
    found = []
    for drawn in units.draw(bootstrap, seed):
        miss, false_alarm = curve.rates(drawn)
        cost = weights.constant + weights.miss * miss + weights.false_alarm * false_alarm
        found.append(cost.min(axis=1))
    return percentiles(np.concatenate(found), confidence)


def a_dcf_interval(
    target: ArrayLike,
    nontarget: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: TrialCosts = A_DCF,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of `a_dcf`: trials are drawn anew within each of the three kinds.

    Args:
        target, nontarget, spoof, costs: see `a_dcf`.
        bootstrap, seed, confidence: see `eer_interval`.

    Raises:
        DataError: as `a_dcf`, or impossible settings.

    Source: own.
    """
    kinds = checked_trials(target, nontarget, spoof)
    check_settings(bootstrap, confidence)
    values, at = np.unique(np.concatenate(kinds), return_inverse=True)
    edges = np.cumsum([0, *(scores.size for scores in kinds)])
    strata = [np.arange(first, last) for first, last in pairwise(edges)]
    # Of each kind, its trials in order of score, and how many of them each threshold rejects.
    ordered = [units[np.argsort(at[units], kind="stable")] for units in strata]
    below = [running(at[units], values.size) for units in strata]
    found = []
    for drawn in draw_units(strata, int(edges[-1]), bootstrap, seed):
        passed = []
        for units, rejected in zip(ordered, below, strict=True):
            total, sums = running_weights(drawn[:, units], rejected)
            passed.append(sums / total)
        found.append(a_dcf_cost(passed[0], 1 - passed[1], 1 - passed[2], costs).min(axis=1))
    return percentiles(np.concatenate(found), confidence)
