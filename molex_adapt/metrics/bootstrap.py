"""Bootstrap intervals of the EER: how far a figure depends on the choice of test utterances.

Scores are sorted once. A resample is a set of integer weights on the sorted scores, so that an EER costs two
cumulative sums. Units are drawn with replacement. Without source ids a unit is one utterance, drawn within its class.
With source ids it is a whole source recording, because a recording and its processed copies are not independent.
Sources are drawn within three strata (bona fide only, spoof only, both), so no resample can lose a class.

Intervals are percentile intervals. They are too narrow where there are few units. Where a test set has no error at all,
that of an EER ends where a share of nothing seen would (`eer_percentiles`), and those of changes and costs are [0, 0].

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats, Ties, checked_scores, eer
from molex_adapt.metrics.resampling import Groups, Units, check_settings, eer_percentiles, percentiles
from molex_adapt.metrics.weighted_curve import WeightedCurve


def eer_interval(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> tuple[float, float]:
    """Percentile bootstrap interval of the EER; of classes that do not overlap, see `resampling.eer_percentiles`.

    Args:
        bona_fide, spoof: (N,) and (M,) scores.
        bootstrap: number of resamples R.
        seed: of the resamples; the same seed gives the same interval.
        confidence: share of resamples inside, between 0 and 1.
        groups: source ids of both sets; whole sources are then drawn.
        ties: see `molex_adapt.metrics.Ties`.

    Raises:
        DataError: unusable scores, ids of another number, or an impossible `bootstrap` or `confidence`.

    Source: own; Efron and Tibshirani 1993, chapter 13; clusters as in Bolle et al. 2004.
    """
    real, fake = checked_scores(bona_fide, spoof)
    check_settings(bootstrap, confidence)
    units = Units.of(real.size, fake.size, groups)
    curve = WeightedCurve.of(real, fake, units, ties)
    rates = np.concatenate([curve.eers(drawn) for drawn in units.draw(bootstrap, seed)])
    return eer_percentiles(rates, real, fake, units, confidence)


def paired_change(
    before_bona_fide: ArrayLike,
    before_spoof: ArrayLike,
    after_bona_fide: ArrayLike,
    after_spoof: ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> tuple[float, tuple[float, float]]:
    """Change of the EER between two detectors on the same utterances, with its paired interval.

    Row i of `before_*` and of `after_*` is the same utterance. Every resample takes the same utterances for both, so
    that utterances which are hard for both detectors cancel out.

    Args:
        before_bona_fide, before_spoof: (N,) and (M,) scores of the first detector.
        after_bona_fide, after_spoof: those of the second, in the same order.
        bootstrap, seed, confidence, groups, ties: see `eer_interval`.

    Returns:
        EER after minus EER before (negative is better), and its interval.

    Raises:
        DataError: as `eer_interval`; also other numbers of scores before and after.

    Source: own.
    """
    ((change, interval),) = paired_changes(
        (before_bona_fide, before_spoof),
        [(after_bona_fide, after_spoof)],
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        groups=groups,
        ties=ties,
    )
    return change, interval


def paired_changes(
    before: tuple[ArrayLike, ArrayLike],
    others: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> list[tuple[float, tuple[float, float]]]:
    """`paired_change` of one detector against each of several others, all on the same resamples, which are drawn once.

    Args:
        before: (N,) bona fide and (M,) spoof scores of the first detector.
        others: those of the others, in the same order.
        bootstrap, seed, confidence, groups, ties: see `eer_interval`.

    Raises:
        DataError: as `paired_change`.

    Source: own.
    """
    first = checked_scores(*before)
    checked = [checked_scores(*pair) for pair in others]
    for pair in checked:
        if (first[0].size, first[1].size) != (pair[0].size, pair[1].size):
            raise DataError(
                f"Before there are {first[0].size} bona fide and {first[1].size} spoof scores, after {pair[0].size} "
                f"and {pair[1].size}. A paired comparison needs the same utterances in the same order. Score both on "
                "one list."
            )
    check_settings(bootstrap, confidence)
    units = Units.of(first[0].size, first[1].size, groups)
    curves = [WeightedCurve.of(*pair, units, ties) for pair in (first, *checked)]
    rates = [np.stack([curve.eers(drawn) for curve in curves]) for drawn in units.draw(bootstrap, seed)]
    changes = np.concatenate(rates, axis=1)
    known = eer(*first, ties=ties)
    return [
        (eer(*pair, ties=ties) - known, percentiles(row - changes[0], confidence))
        for pair, row in zip(checked, changes[1:], strict=True)
    ]


def mean_eer_interval(
    sets: Sequence[tuple[ArrayLike, ArrayLike, Groups]],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    ties: Ties = "asvspoof5",
) -> tuple[float, tuple[float, float]]:
    """Mean of the EERs of several sets of one detector, with its interval.

    A source in several sets is drawn for all of them at once, because sets that share bona fide speech are not
    independent.

    Args:
        sets: for each, (N,) bona fide scores, (M,) spoof scores, and the source ids of both.
        bootstrap, seed, confidence, ties: see `eer_interval`.

    Raises:
        DataError: as `eer_interval`; also sets of so few sources that a resample lost a class.

    Source: own.
    """
    check_settings(bootstrap, confidence)
    mean = float(np.mean([eer(real, fake, ties=ties) for real, fake, _ in sets]))
    rates = resampled_eers(sets, bootstrap=bootstrap, seed=seed, ties=ties).mean(axis=0)
    return mean, percentiles(rates, confidence)


def resampled_eers(
    sets: Sequence[tuple[ArrayLike, ArrayLike, Groups]],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    ties: Ties = "asvspoof5",
) -> Floats:
    """EER of each of several sets in every resample, (sets, R).

    The resamples depend on the sources alone, so that those of two detectors on the same sets are paired. Arguments and
    errors as `mean_eer_interval`. Source: own.
    """
    check_settings(bootstrap, 0.5)
    checked = [(*checked_scores(real, fake), groups) for real, fake, groups in sets]
    numbers: dict[str | tuple[int, int], int] = {}
    curves = []
    for number, (real, fake, groups) in enumerate(checked):
        alone = Units.of(real.size, fake.size, groups)
        ids = [name or (number, row) for row, name in enumerate((*groups[0], *groups[1]))]
        unit = np.array([numbers.setdefault(name, len(numbers)) for name in ids], dtype=np.intp)
        units = Units(unit[: real.size], unit[real.size :], alone.strata, alone.count)
        curves.append(WeightedCurve.of(real, fake, units, ties))
    count = len(numbers)
    everyone = np.arange(count)
    together = Units(everyone, everyone, (everyone,), count)
    # Strata of one set are none of another, so here a resample can lose a class of a set. That shows as NaN below.
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = [
            np.stack([curve.eers(weights) for curve in curves]) for weights in together.draw(bootstrap, seed)
        ]
    rates = np.concatenate(drawn, axis=1)
    if not np.isfinite(rates).all():
        raise DataError(
            f"The {count} sources of {len(curves)} sets are too few: a resample lost a class. Expected some tens of "
            "sources a set."
        )
    return rates
