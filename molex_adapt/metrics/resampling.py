"""Resamples of scores for bootstrap intervals: units drawn with replacement, as integer weights on sorted scores.

Shapes: R resamples, U units, N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats

Groups: TypeAlias = tuple[Sequence[str | None], Sequence[str | None]]
"""Source ids of the bona fide and of the spoof scores; an empty id stands for a source of its own."""

Integers: TypeAlias = NDArray[np.intp]
Interval: TypeAlias = tuple[float, float]

_DRAWN_AT_ONCE = 2_000_000
"""Units that one call of the generator draws, 16 MB; another number would give other resamples."""
_WEIGHTS_AT_ONCE = 200_000
"""Weights that are worked on at once; a curve makes some ten arrays of their size, 1.6 MB each."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of drawing: the unit of each of (N,) and (M,) scores, and the strata of units."""

    real: Integers
    fake: Integers
    strata: tuple[Integers, ...]
    count: int

    @classmethod
    def of(cls, reals: int, fakes: int, groups: Groups | None) -> Units:
        if groups is None:
            real, fake = np.arange(reals), np.arange(reals, reals + fakes)
            return cls(real, fake, (real, fake), reals + fakes)
        if (len(groups[0]), len(groups[1])) != (reals, fakes):
            raise DataError(
                f"There are {len(groups[0])} and {len(groups[1])} source ids for {reals} bona fide and "
                f"{fakes} spoof scores. Expected one id per score. Pass groups=(bona fide ids, spoof ids)."
            )
        (real, fake), strata, count = shared_units(groups)
        return cls(real, fake, strata, count)

    def draw(self, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
        """Yield (r, U) counts of each unit in r resamples; r is small enough for the memory."""
        return draw_units(self.strata, self.count, resamples, seed)


def shared_units(
    ids: Sequence[Sequence[str | None]],
) -> tuple[list[Integers], tuple[Integers, ...], int]:
    """Units of several sets that share sources: the unit of each score, the strata, and how many units there are.

    A stratum holds the sources of the same sets, so that no resample loses a set. An empty id is a unit of its own.
    """
    sizes = [len(own) for own in ids]
    names = [name or (row,) for row, name in enumerate(name for own in ids for name in own)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    unit = np.array([numbers[name] for name in names], dtype=np.intp)
    units = np.split(unit, np.cumsum(sizes)[:-1])
    sets = np.zeros(len(numbers), dtype=np.intp)
    for at, own in enumerate(units):
        sets[own] |= 1 << at
    return units, tuple(np.flatnonzero(sets == kind) for kind in np.unique(sets)), len(numbers)


def draw_units(
    strata: Sequence[Integers], count: int, resamples: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield (r, U) counts of U = `count` units, drawn with replacement within each stratum, r resamples at a time."""
    rng = np.random.default_rng(seed)
    most, few = (max(1, numbers // count) for numbers in (_DRAWN_AT_ONCE, _WEIGHTS_AT_ONCE))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn = [rng.integers(stratum.size, size=(rows, stratum.size)) for stratum in strata]
        for first in range(0, rows, few):
            yield _counted(strata, [own[first : first + few] for own in drawn], count)


def _counted(strata: Sequence[Integers], drawn: Sequence[Integers], count: int) -> NDArray[np.int64]:
    """(r, U) counts of each unit, from (r, units of a stratum) places in each of the strata."""
    units = np.concatenate([own[at] for own, at in zip(strata, drawn, strict=True)], axis=1)
    # Every resample has its own range of numbers, so that one count serves all of them.
    offsets = np.arange(len(units))[:, None] * count
    return np.bincount((units + offsets).ravel(), minlength=len(units) * count).reshape(len(units), count)


def draw_sources(
    sources: Sequence[str], resamples: int, seed: int | np.random.Generator
) -> tuple[NDArray[np.int64], Integers]:
    """Draw whole sources with replacement.

    Returns:
        (R, U) counts of each source in each resample, and the (N,) source of each utterance.
    """
    names, unit = np.unique(np.array(sources, dtype=object).astype(str), return_inverse=True)
    return draw_counts(names.size, resamples, seed), unit


def draw_counts(units: int, resamples: int, seed: int | np.random.Generator) -> NDArray[np.int64]:
    """(R, U) counts of units that are drawn with replacement."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)


def running(at: Integers, points: int) -> Integers:
    """Of N places on V values: how many lie below each of the V + 1 points of the curve."""
    return np.concatenate(([0], np.cumsum(np.bincount(at, minlength=points))))


def running_weights(weights: NDArray[np.int64], below: Integers) -> tuple[Floats, Floats]:
    """Of (R, N) weights in order of score: the (R, 1) totals, and the (R, V) sums that each point rejects."""
    running = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=running[:, 1:])
    return running[:, -1:], running[:, below]


def percentiles(rates: Floats, confidence: float) -> Interval:
    """The interval that holds this share of (R,) figures, with equal tails."""
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def eer_percentiles(rates: Floats, real: Floats, fake: Floats, units: Units, confidence: float) -> Interval:
    """The interval of an EER from (R,) of resamples of (N,) and (M,) scores.

    Where the classes do not overlap, no resample errs either, however few they are. The bound is then that of a
    binomial share of which nothing was seen, with as many trials as the smaller class has units: 3 % of 100.
    """
    fewest = min(np.unique(units.real).size, np.unique(units.fake).size)
    seen = float((1 - confidence) ** (1 / fewest))
    if real.min() > fake.max():
        return 0.0, 1 - seen
    return (seen, 1.0) if real.max() < fake.min() else percentiles(rates, confidence)


def check_settings(bootstrap: int, confidence: float) -> None:
    """Refuse impossible settings.

    Raises:
        DataError: no resample, or a confidence that is no share.
    """
    if bootstrap < 1 or not 0 < confidence < 1:
        raise DataError(
            f"An interval from {bootstrap} resamples at confidence {confidence} does not exist. Expected at "
            "least 1 resample and a confidence between 0 and 1. For the bare figure call eer()."
        )


def split_groups(
    groups: Sequence[str | None] | None, rows: NDArray[np.bool_], real: NDArray[np.bool_]
) -> Groups | None:
    """The (n,) source ids of the chosen rows by class, from (n,) booleans; None where there are none."""
    if groups is None:
        return None
    return (
        [groups[int(at)] for at in np.flatnonzero(rows & real)],
        [groups[int(at)] for at in np.flatnonzero(rows & ~real)],
    )
