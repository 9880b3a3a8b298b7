"""All figures of one set of scores, and of its parts: by attack, by recording condition, by both.

Shapes: N bona fide, M spoof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.conventions import FEWEST_FOR_INTERVAL
from molex_adapt.errors import DataError
from molex_adapt.metrics.bootstrap import eer_interval
from molex_adapt.metrics.cost_intervals import CostIntervals, eer_and_cost_intervals
from molex_adapt.metrics.curve import (
    ASVSPOOF5,
    Costs,
    Floats,
    Ties,
    act_dcf,
    checked_scores,
    cllr,
    eer,
    min_dcf,
)
from molex_adapt.metrics.resampling import Groups, Interval, split_groups

_Figures = TypeVar("_Figures")


@dataclass(frozen=True, slots=True)
class Rates:
    """Figures of one evaluation; rates are fractions, `cllr` is in bits, the last two count utterances."""

    eer: float
    eer_ci: tuple[float, float]
    min_dcf: float
    act_dcf: float
    cllr: float
    bona_fide: int
    spoof: int

    @property
    def has_interval(self) -> bool:
        """Whether there are enough recordings of each class for `eer_ci` to tell anything."""
        return min(self.bona_fide, self.spoof) >= FEWEST_FOR_INTERVAL

    def as_dict(self) -> dict[str, float | int | list[float]]:
        """The same as plain JSON values, under the keys of the machine-readable output."""
        return asdict(self) | {"eer_ci": list(self.eer_ci)}


class Breakdown(TypedDict):
    """Figures of all utterances, with intervals of the costs, and of every attack against all bona fide utterances."""

    overall: Rates
    intervals: CostIntervals
    by_attack: dict[str, Rates]


def measure(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> Rates:
    """Measure scores; higher must mean more bona fide.

    Args:
        bona_fide, spoof: (N,) and (M,) scores; log-likelihood ratios in nats if actDCF and Cllr are to mean anything.
        costs: of minDCF and actDCF.
        bootstrap, seed, confidence, groups: of the EER's interval, see `eer_interval`.
        ties: see `molex_adapt.metrics.Ties`; matters for the EER only.

    Raises:
        DataError: a class is empty, a score is not finite, or an argument does not fit.

    Source: own; definitions of the ASVspoof 5 evaluation package.
    """
    real, fake = checked_scores(bona_fide, spoof)
    interval = eer_interval(
        real, fake, bootstrap=bootstrap, seed=seed, confidence=confidence, groups=groups, ties=ties
    )
    return _rates(real, fake, interval, costs, ties)


def measure_with_intervals(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    ties: Ties = "asvspoof5",
) -> tuple[Rates, CostIntervals]:
    """As `measure`, with the intervals of the costs from the resamples of the EER's. Arguments and errors as there."""
    real, fake = checked_scores(bona_fide, spoof)
    interval, of_costs = eer_and_cost_intervals(
        real,
        fake,
        costs=costs,
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        groups=groups,
        ties=ties,
    )
    return _rates(real, fake, interval, costs, ties), of_costs


def _rates(real: Floats, fake: Floats, interval: Interval, costs: Costs, ties: Ties) -> Rates:
    return Rates(
        eer=eer(real, fake, ties=ties),
        eer_ci=interval,
        min_dcf=min_dcf(real, fake, costs=costs),
        act_dcf=act_dcf(real, fake, costs=costs),
        cllr=cllr(real, fake),
        bona_fide=real.size,
        spoof=fake.size,
    )


def measure_by_attack(
    scores: ArrayLike,
    is_bona_fide: ArrayLike,
    attacks: Sequence[str | None],
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Sequence[str | None] | None = None,
    ties: Ties = "asvspoof5",
) -> Breakdown:
    """Measure all utterances together, and every attack against all bona fide utterances.

    Args:
        scores, is_bona_fide: (n,) scores and booleans.
        attacks: (n,) names; not read for bona fide rows. A spoof without a name counts in `overall` only.
        groups: (n,) source ids, or None.
        costs, bootstrap, seed, confidence, ties: see `measure`.

    Raises:
        DataError: as `measure`; also columns of different lengths or labels that are not booleans.

    Source: own; the breakdown is that of the ASVspoof 5 package.
    """
    values, real = _checked_columns(scores, is_bona_fide, attack=attacks, source=groups)
    settings: dict[str, Any] = {
        "costs": costs,
        "bootstrap": bootstrap,
        "seed": seed,
        "confidence": confidence,
        "ties": ties,
    }
    names = np.array([name or "" for name in attacks], dtype=object)
    overall, intervals = _measure_rows(
        partial(measure_with_intervals, **settings), values, real, groups, np.ones(values.size, dtype=bool)
    )
    part = partial(_measure_rows, partial(measure, **settings), values, real, groups)
    by_attack = {
        name: part(real | (names == name)) for name in sorted({str(name) for name in names[~real] if name})
    }
    return {"overall": overall, "intervals": intervals, "by_attack": by_attack}


def measure_by_condition(
    scores: ArrayLike,
    is_bona_fide: ArrayLike,
    conditions: Sequence[str | None],
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Sequence[str | None] | None = None,
    ties: Ties = "asvspoof5",
) -> dict[str, Rates | None]:
    """Measure every recording condition (such as a codec) alone: its bona fide against its spoofs.

    Arguments and errors as `measure_by_attack`, with `conditions` (n,) read for both classes. Rows
    without a condition are left out. A condition that lacks a class is None: not measured.
    """
    values, real = _checked_columns(scores, is_bona_fide, condition=conditions, source=groups)
    measured = partial(measure, costs=costs, bootstrap=bootstrap, seed=seed, confidence=confidence, ties=ties)
    names = np.array([name or "" for name in conditions], dtype=object)
    return {
        name: _measure_both(measured, values, real, groups, names == name)
        for name in sorted({str(name) for name in names if name})
    }


def measure_grid(
    scores: ArrayLike,
    is_bona_fide: ArrayLike,
    attacks: Sequence[str | None],
    conditions: Sequence[str | None],
    *,
    costs: Costs = ASVSPOOF5,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Sequence[str | None] | None = None,
    ties: Ties = "asvspoof5",
) -> dict[str, dict[str, Rates | None]]:
    """Measure every attack in every condition: its spoofs there against the bona fide utterances of that condition.

    Arguments and errors as `measure_by_attack` and `measure_by_condition`.

    Returns:
        {attack: {condition: figures}}, with the conditions that the attack was heard in. None: there is no bona fide
        utterance in that condition, so nothing is measured.

    Source: own.
    """
    values, real = _checked_columns(scores, is_bona_fide, attack=attacks, condition=conditions, source=groups)
    measured = partial(measure, costs=costs, bootstrap=bootstrap, seed=seed, confidence=confidence, ties=ties)
    names = np.array([name or "" for name in attacks], dtype=object)
    places = np.array([name or "" for name in conditions], dtype=object)
    result: dict[str, dict[str, Rates | None]] = {}
    for attack, place in sorted({(str(a), str(c)) for a, c in zip(names[~real], places[~real], strict=True)}):
        if attack and place:
            rows = (places == place) & (real | (names == attack))
            result.setdefault(attack, {})[place] = _measure_both(measured, values, real, groups, rows)
    return result


def _measure_both(
    measured: Callable[..., Rates],
    values: Floats,
    real: NDArray[np.bool_],
    groups: Sequence[str | None] | None,
    rows: NDArray[np.bool_],
) -> Rates | None:
    """None where a class is missing."""
    both = bool((rows & real).any() and (rows & ~real).any())
    return _measure_rows(measured, values, real, groups, rows) if both else None


def _measure_rows(
    measured: Callable[..., _Figures],
    values: Floats,
    real: NDArray[np.bool_],
    groups: Sequence[str | None] | None,
    rows: NDArray[np.bool_],
) -> _Figures:
    return measured(values[rows & real], values[rows & ~real], groups=split_groups(groups, rows, real))


def _checked_columns(
    scores: ArrayLike, is_bona_fide: ArrayLike, **columns: Sequence[str | None] | None
) -> tuple[Floats, NDArray[np.bool_]]:
    values, real = np.asarray(scores, dtype=np.float64), np.asarray(is_bona_fide)
    if real.dtype != np.bool_:
        raise DataError(
            f"Labels have type {real.dtype}. Expected booleans, true for bona fide. "
            "Compare first: labels == 'bonafide'."
        )
    lengths = {"label": real.size} | {
        name: len(column) for name, column in columns.items() if column is not None
    }
    for name, length in lengths.items():
        if length != values.size:
            raise DataError(
                f"There are {values.size} scores but {length} {name} entries. Expected one per score. "
                "Join scores and key by file name first."
            )
    return values, real
