"""How many bona fide utterances a threshold refuses, together and per recording condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.errors import DataError

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
