"""Bootstrap intervals of the EER: how far a figure depends on the choice of test utterances.

Scores are sorted once. A resample is a set of integer weights on the sorted scores, so that an EER costs two
cumulative sums. Units are drawn with replacement. Without source ids a unit is one utterance, drawn within its class.
With source ids it is a whole source recording, because a recording and its processed copies are not independent.
Sources are drawn within three strata (bona fide only, spoof only, both), so no resample can lose a class.

Intervals are percentile intervals. They are too narrow where there are few units. Where a test set has no error at all
they are [0, 0]; the rule of three, 3 / n, is then a better upper bound.

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats, Ties, checked_scores, curve_positions, eer

Groups: TypeAlias = tuple[Sequence[str | None], Sequence[str | None]]
"""Source ids of the bona fide and of the spoof scores; an empty id stands for a source of its own."""

Integers: TypeAlias = NDArray[np.intp]

_WEIGHTS_AT_ONCE = 2_000_000
"""Bounds memory: some tens of MB for each array of weights."""


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
    """Percentile bootstrap interval of the EER.

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
    _check_settings(bootstrap, confidence)
    units = _Units.of(real.size, fake.size, groups)
    curve = _WeightedCurve.of(real, fake, units, ties)
    rates = np.concatenate([curve.eers(drawn) for drawn in units.draw(bootstrap, seed)])
    return _percentiles(rates, confidence)


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
    _check_settings(bootstrap, confidence)
    units = _Units.of(first[0].size, first[1].size, groups)
    curves = [_WeightedCurve.of(*pair, units, ties) for pair in (first, *checked)]
    rates = [np.stack([curve.eers(drawn) for curve in curves]) for drawn in units.draw(bootstrap, seed)]
    changes = np.concatenate(rates, axis=1)
    known = eer(*first, ties=ties)
    return [
        (eer(*pair, ties=ties) - known, _percentiles(row - changes[0], confidence))
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
    _check_settings(bootstrap, confidence)
    checked = [(*checked_scores(real, fake), groups) for real, fake, groups in sets]
    numbers: dict[str | tuple[int, int], int] = {}
    curves = []
    for number, (real, fake, groups) in enumerate(checked):
        alone = _Units.of(real.size, fake.size, groups)
        ids = [name or (number, row) for row, name in enumerate((*groups[0], *groups[1]))]
        unit = np.array([numbers.setdefault(name, len(numbers)) for name in ids], dtype=np.intp)
        units = _Units(unit[: real.size], unit[real.size :], alone.strata, alone.count)
        curves.append(_WeightedCurve.of(real, fake, units, ties))
    count = len(numbers)
    everyone = np.arange(count)
    together = _Units(everyone, everyone, (everyone,), count)
    mean = float(np.mean([eer(real, fake, ties=ties) for real, fake, _ in checked]))
    # Strata of one set are none of another, so here a resample can lose a class of a set. That shows as NaN below.
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [
            np.mean([curve.eers(drawn) for curve in curves], axis=0)
            for drawn in together.draw(bootstrap, seed)
        ]
    rates = np.concatenate(means)
    if not np.isfinite(rates).all():
        raise DataError(
            f"The {count} sources of {len(curves)} sets are too few: a resample lost a class. Expected some tens of "
            "sources a set."
        )
    return mean, _percentiles(rates, confidence)


@dataclass(frozen=True, slots=True)
class _Units:
    """The units of drawing: the unit of each of (N,) and (M,) scores, and the strata of units."""

    real: Integers
    fake: Integers
    strata: tuple[Integers, ...]
    count: int

    @classmethod
    def of(cls, reals: int, fakes: int, groups: Groups | None) -> _Units:
        if groups is None:
            real, fake = np.arange(reals), np.arange(reals, reals + fakes)
            return cls(real, fake, (real, fake), reals + fakes)
        if (len(groups[0]), len(groups[1])) != (reals, fakes):
            raise DataError(
                f"There are {len(groups[0])} and {len(groups[1])} source ids for {reals} bona fide and "
                f"{fakes} spoof scores. Expected one id per score. Pass groups=(bona fide ids, spoof ids)."
            )
        ids = [name or (row,) for row, name in enumerate((*groups[0], *groups[1]))]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
        unit = np.array([numbers[name] for name in ids], dtype=np.intp)
        has_real = np.isin(np.arange(len(numbers)), unit[:reals])
        has_fake = np.isin(np.arange(len(numbers)), unit[reals:])
        kinds = (has_real & ~has_fake, has_fake & ~has_real, has_real & has_fake)
        strata = tuple(np.flatnonzero(kind) for kind in kinds if kind.any())
        return cls(unit[:reals], unit[reals:], strata, len(numbers))

    def draw(self, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
        """Yield (r, U) counts of each unit in r resamples; r is small enough for the memory."""
        rng = np.random.default_rng(seed)
        most = max(1, _WEIGHTS_AT_ONCE // self.count)
        for start in range(0, resamples, most):
            rows = min(most, resamples - start)
            offsets = np.arange(rows)[:, None] * self.count
            drawn = [
                stratum[rng.integers(stratum.size, size=(rows, stratum.size))] for stratum in self.strata
            ]
            # Every resample has its own range of numbers, so that one count serves all of them.
            flat = (np.concatenate(drawn, axis=1) + offsets).ravel()
            yield np.bincount(flat, minlength=rows * self.count).reshape(rows, self.count)


@dataclass(frozen=True, slots=True)
class _WeightedCurve:
    """Scores in ascending order as units, and how many of them each point of the curve rejects."""

    real_units: Integers  # (N,) in order of score
    fake_units: Integers  # (M,) in order of score
    real_below: Integers  # (V,) bona fide scores rejected at each point
    fake_below: Integers  # (V,) spoof scores rejected at each point
    single: bool  # whether each step of the curve is one utterance

    @classmethod
    def of(cls, real: Floats, fake: Floats, units: _Units, ties: Ties) -> _WeightedCurve:
        real_at, fake_at, values = curve_positions(real, fake, ties)
        return cls(
            real_units=units.real[np.argsort(real_at, kind="stable")],
            fake_units=units.fake[np.argsort(fake_at, kind="stable")],
            real_below=_running(real_at, values.size),
            fake_below=_running(fake_at, values.size),
            single=ties == "asvspoof5",
        )

    def eers(self, drawn: NDArray[np.int64]) -> Floats:
        """(R,) EER of each row of (R, U) unit weights."""
        reals, missed = _running_weights(drawn[:, self.real_units], self.real_below)
        fakes, caught = _running_weights(drawn[:, self.fake_units], self.fake_below)
        miss, false_alarm = missed / reals, (fakes - caught) / fakes
        if self.single:
            return self._single_eers(miss, false_alarm, reals[:, 0], fakes[:, 0])
        at = np.argmin(np.abs(miss - false_alarm), axis=1)[:, None]
        pair = np.take_along_axis(miss, at, axis=1) + np.take_along_axis(false_alarm, at, axis=1)
        return np.asarray(pair[:, 0] / 2)

    def _single_eers(self, miss: Floats, false_alarm: Floats, reals: Floats, fakes: Floats) -> Floats:
        """(R,) EER where a score that was drawn several times is several utterances, taken one by one.

        The two rates cross while the copies of one score are taken: one rate stands still, the other moves in
        steps of one utterance, and the nearest step counts; of two that are equally near, the first.
        """
        after = np.argmax(miss >= false_alarm, axis=1)
        row = np.arange(after.size)
        rising = self.real_below[after] > self.real_below[after - 1]
        still = np.where(rising, false_alarm[row, after], miss[row, after])
        sizes, step = np.where(rising, reals, fakes), np.where(rising, 1, -1)
        before = step * np.floor(step * still * sizes)
        first, second = before / sizes, (before + step) / sizes
        nearest = np.where(np.abs(second - still) < np.abs(first - still), second, first)
        return np.asarray((still + nearest) / 2)


def _running(at: Integers, points: int) -> Integers:
    return np.concatenate(([0], np.cumsum(np.bincount(at, minlength=points))))


def _running_weights(weights: NDArray[np.int64], below: Integers) -> tuple[Floats, Floats]:
    """Of (R, N) weights in order of score: the (R, 1) totals, and the (R, V) sums that each point rejects."""
    running = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=running[:, 1:])
    return running[:, -1:], running[:, below]


def _percentiles(rates: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check_settings(bootstrap: int, confidence: float) -> None:
    if bootstrap < 1 or not 0 < confidence < 1:
        raise DataError(
            f"An interval from {bootstrap} resamples at confidence {confidence} does not exist. Expected at "
            "least 1 resample and a confidence between 0 and 1. For the bare figure call eer()."
        )
