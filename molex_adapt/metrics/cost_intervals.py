"""Bootstrap intervals of detection costs: minDCF, actDCF, Cllr. The resamples are those of the EER.

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.metrics.curve import ASVSPOOF5, Costs, Floats, Ties, checked_scores
from molex_adapt.metrics.resampling import (
    Groups,
    Interval,
    Units,
    check_settings,
    eer_percentiles,
    percentiles,
)
from molex_adapt.metrics.weighted_curve import WeightedCurve


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
    found = (percentiles(np.concatenate(rows), confidence) for rows in (low, actual, bits))
    return eer_percentiles(np.concatenate(eers), real, fake, units, confidence), CostIntervals(*found)


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
