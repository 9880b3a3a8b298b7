"""Bootstrap intervals of the figures of a countermeasure beside speaker verification: t-DCF, a-DCF, t-EER.

Shapes: T target trials, O nontarget trials, S spoof trials; N bona fide, M spoofed utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import checked_scores
from molex_adapt.metrics.resampling import (
    Groups,
    Interval,
    Units,
    check_settings,
    draw_units,
    percentiles,
    running,
    running_weights,
    shared_units,
)
from molex_adapt.metrics.tandem import (
    A_DCF,
    TandemWeights,
    TrialCosts,
    a_dcf_cost,
    checked_trials,
    in_order,
    t_eer_in_order,
)
from molex_adapt.metrics.weighted_curve import WeightedCurve

TrialGroups: TypeAlias = tuple[Sequence[str | None], Sequence[str | None], Sequence[str | None]]
"""Source ids of target, nontarget and spoof trials; an empty id stands for a source of its own."""


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
    (found,) = t_dcf_intervals(
        bona_fide, spoof, [weights], bootstrap=bootstrap, seed=seed, confidence=confidence, groups=groups
    )
    return found


def t_dcf_intervals(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    weights: Sequence[TandemWeights],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> list[Interval]:
    """`t_dcf_interval` of several formulas, all from the same resamples, which are drawn once."""
    real, fake = checked_scores(bona_fide, spoof)
    check_settings(bootstrap, confidence)
    units = Units.of(real.size, fake.size, groups)
    curve = WeightedCurve.of(real, fake, units, "step")
    if not weights:
        return []
    found = []
    for drawn in units.draw(bootstrap, seed):
        miss, false_alarm = curve.rates(drawn)
        costs = (own.constant + own.miss * miss + own.false_alarm * false_alarm for own in weights)
        found.append([cost.min(axis=1) for cost in costs])
    return [percentiles(np.concatenate(rows), confidence) for rows in zip(*found, strict=True)]


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


def t_eer_interval(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    target: ArrayLike,
    nontarget: ArrayLike,
    asv_spoof: ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    trial_groups: TrialGroups | None = None,
) -> Interval:
    """Interval of `t_eer`: utterances and trials are drawn anew, those of one source together.

    A source is drawn with all its utterances and all its trials, so that what both systems made of a recording stays
    paired. Sources are drawn within strata of those that appear in the same classes and kinds of trials.

    Args:
        bona_fide, spoof, target, nontarget, asv_spoof: see `t_eer`.
        bootstrap, seed, confidence: see `eer_interval`.
        groups, trial_groups: source ids of utterances and of trials; without them each is a source of its own.

    Raises:
        DataError: as `t_eer`, ids of another number, or impossible settings.

    Source: own; Efron and Tibshirani 1993, chapter 13.
    """
    classes, kinds = checked_scores(bona_fide, spoof), checked_trials(target, nontarget, asv_spoof)
    check_settings(bootstrap, confidence)
    sizes = [scores.size for scores in (*classes, *kinds)]
    ids = [
        *(groups or [[None] * size for size in sizes[:2]]),
        *(trial_groups or [[None] * size for size in sizes[2:]]),
    ]
    if [len(own) for own in ids] != sizes:
        raise DataError(
            f"There are {[len(own) for own in ids]} source ids for {sizes} scores of bona fide, spoof, and of target, "
            "nontarget and spoof trials. Expected one id per score."
        )
    units, strata, count = shared_units(ids)
    cm, asv = in_order(classes), in_order(kinds)
    cm_units, asv_units = (
        np.concatenate(own)[np.argsort(np.concatenate(scores), kind="stable")]
        for own, scores in ((units[:2], classes), (units[2:], kinds))
    )
    found = [
        t_eer_in_order(np.repeat(cm, row[cm_units]), np.repeat(asv, row[asv_units]))
        for drawn in draw_units(strata, count, bootstrap, seed)
        for row in drawn
    ]
    return percentiles(np.array(found), confidence)
