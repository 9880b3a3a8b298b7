"""How many bona fide utterances a threshold refuses, together and per recording condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.resampling import draw_counts, draw_sources

_DRAWS = 1000
_DEVIATIONS = 1.959964
"""Of a normal distribution, to either side of 95 %."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Bona fide utterances below a threshold: `refused` of `bona_fide`, the share of it, and its 95 % interval."""

    rate: float
    ci: tuple[float, float]
    refused: int
    bona_fide: int

    def as_dict(self) -> dict[str, float | int | list[float]]:
        """The same as plain JSON values."""
        return asdict(self) | {"ci": list(self.ci)}


def count_refusals(scores: ArrayLike, threshold: float) -> Refusals:
    """Count what a threshold refuses.

    Args:
        scores: (N,) scores of bona fide utterances.
        threshold: in the scores' unit; at least this score is accepted.

    Raises:
        DataError: no score, or one that is not finite.

    Source: own; the interval is Wilson's (1927), which is sound where few or none are refused. It takes utterances for
    independent, which copies of one recording are not.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        raise DataError(
            f"{values.size} scores of bona fide utterances, some missing or not finite. Expected at least one, and "
            "finite ones. Score the recordings again."
        )
    refused, count = int((values < threshold).sum()), values.size
    rate, square = refused / count, _DEVIATIONS**2
    middle = (rate + square / (2 * count)) / (1 + square / count)
    reach = (
        math.sqrt(rate * (1 - rate) / count + square / (4 * count**2)) * _DEVIATIONS / (1 + square / count)
    )
    # Exactly 0 and 1 where none or all are refused; rounding would leave 1e-18.
    low, high = 0.0 if not refused else middle - reach, 1.0 if refused == count else middle + reach
    return Refusals(rate, (low, high), refused, count)


@dataclass(frozen=True, slots=True)
class RefusalsChange:
    """Share of bona fide utterances below one threshold under two detectors, and the interval of its rise."""

    before: float
    after: float
    interval: tuple[float, float]
    """Paired bootstrap interval of after minus before, 95 % for all that are judged together; a rise is worse."""
    bona_fide: int
    sources: int
    """Source recordings that they come from; the interval is drawn over these."""

    @property
    def rise(self) -> float:
        """After minus before."""
        return self.after - self.before

    def as_dict(self) -> dict[str, float | int | list[float]]:
        """The same as plain JSON values."""
        return asdict(self) | {"interval": list(self.interval)}


def paired_refusals(
    before: ArrayLike,
    after: ArrayLike,
    threshold: float,
    sources: Sequence[str],
    *,
    comparisons: int = 1,
) -> RefusalsChange:
    """Compare what a threshold refuses of the same bona fide utterances under two detectors.

    Args:
        before, after: (N,) scores of the same utterances, in the same order.
        threshold: in the scores' unit; at least this score is accepted.
        sources: (N,) source recordings; every resample draws whole ones.
        comparisons: how many of these are judged together; with more, the interval is the wider.

    Raises:
        DataError: no score, other numbers of them, or one that is not finite.

    Source: own; Bonferroni's correction for several comparisons.
    """
    rates = [count_refusals(scores, threshold).rate for scores in (before, after)]
    first, second = (np.asarray(scores, dtype=np.float64) < threshold for scores in (before, after))
    if not first.size == second.size == len(sources):
        raise DataError(
            f"{first.size} scores before, {second.size} after and {len(sources)} sources. A paired comparison needs "
            "the same utterances in the same order. Score both on one list."
        )
    # Enough for some draws beyond either edge, however many comparisons there are.
    draws, owners = draw_sources(sources, max(_DRAWS, _DRAWS // 10 * comparisons), seed=0)
    each = np.bincount(owners)
    rise = np.bincount(owners, weights=second.astype(float) - first)
    rises = (draws @ rise) / (draws @ each)
    tails = 0.05 / comparisons / 2
    low, high = (float(edge) for edge in np.quantile(rises, [tails, 1 - tails]))
    return RefusalsChange(rates[0], rates[1], (low, high), first.size, each.size)


def threshold_for_new_voices(
    scores: ArrayLike, voices: Sequence[str], share: float, *, bootstrap: int = 1000, seed: int = 0
) -> float:
    """The highest threshold that refuses at most a share of bona fide utterances by voices that are not among these.

    Of utterances by few voices, one voice decides what a quantile is. So voices are drawn anew, beside them one more
    that is like the worst, and in 95 of 100 draws the share that is refused must not be exceeded. It is the share of
    many new voices together: a single one may be refused more often. With few voices it is still a little too high:
    where voices differ by 0.7 of what recordings of one do, it is exceeded more often than in 5 of 100 simulations, and
    in fewer than 20 with 8 or 30 voices (tests/test_metrics_intervals.py).

    Args:
        scores: (N,) scores of bona fide utterances.
        voices: (N,) who speaks.
        share: at least 0, below 1.
        bootstrap, seed: of the draws.

    Returns:
        One of the scores; those equal to it are accepted.

    Raises:
        DataError: no score, one that is not finite, or another number of voices.

    Source: own; bootstrap over clusters.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not values.size or not np.isfinite(values).all() or values.size != len(voices):
        raise DataError(
            f"{values.size} scores of bona fide utterances, some missing or not finite, and {len(voices)} voices. "
            "Expected as many finite scores as voices. Score the recordings again."
        )
    owners = np.unique(np.asarray(voices, dtype=object).astype(str), return_inverse=True)[1]
    each = np.bincount(owners)
    # Nothing above the quantile of all can hold for most draws.
    candidates = np.sort(values)[: int(share * values.size) + 1]
    below = np.stack([np.searchsorted(np.sort(values[owners == at]), candidates) for at in range(each.size)])
    worst = (below / each[:, None]).max(axis=0) * each.mean()
    below = np.vstack([below, worst])  # floats: as exact, and multiplied many times as fast as integers
    each = np.append(each, each.mean())
    draws = draw_counts(each.size, bootstrap, seed)
    refused = (draws @ below) / (draws @ each)[:, None]
    holds = np.quantile(refused, 0.95, axis=0) <= share
    return float(candidates[np.flatnonzero(holds)[-1]])


def refusals_by_condition(
    scores: ArrayLike, is_bona_fide: ArrayLike, conditions: Sequence[str | None], threshold: float
) -> dict[str, Refusals]:
    """Count per condition that bona fide utterances were heard in; those without one are left out.

    Arguments as `measure_by_condition` and `count_refusals`, with their errors.
    """
    values, real = np.asarray(scores, dtype=np.float64), np.asarray(is_bona_fide, dtype=bool)
    names = np.array([name or "" for name in conditions], dtype=object)
    found = sorted({str(name) for name in names[real] if name})
    return {name: count_refusals(values[real & (names == name)], threshold) for name in found}
