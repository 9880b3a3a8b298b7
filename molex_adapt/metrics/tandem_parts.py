"""Figures of parts of the data beside speaker verification: by attack, by condition, by both; without intervals.

Shapes: T target trials, O nontarget trials, S spoof trials; N bona fide, M spoofed utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.tandem import (
    AsvRates,
    Formula,
    TandemWeights,
    a_dcf,
    asv_rates,
    min_t_dcf,
    t_eer,
    tandem_weights,
)

Kinds: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Scores of target, nontarget and spoof trials."""

TANDEM_FIGURES = ("a_dcf", "t_dcf_2019", "t_dcf_2021", "t_eer")


@dataclass(frozen=True, slots=True)
class TandemFigures:
    """Figures of one part of the data; None where its scores do not give them."""

    target: int
    nontarget: int
    spoof: int
    """Counts of trials."""
    a_dcf: float | None = None
    t_dcf_2019: float | None = None
    t_dcf_2021: float | None = None
    t_eer: float | None = None
    """A fraction."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing could be measured."""
        return all(getattr(self, name) is None for name in TANDEM_FIGURES)

    def counts(self) -> dict[str, int]:
        """How many trials there are of each kind."""
        return {"target": self.target, "nontarget": self.nontarget, "spoof": self.spoof}

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"trials": self.counts(), **{name: getattr(self, name) for name in TANDEM_FIGURES}}


@dataclass(frozen=True, slots=True)
class TandemParts:
    """Figures of parts; None: not measured, for a class or a kind of trial is missing there."""

    by_attack: dict[str, TandemFigures | None] = field(default_factory=dict)
    """An attack's utterances and trials against all others that are bona fide."""
    by_condition: dict[str, TandemFigures | None] = field(default_factory=dict)
    """All utterances in a condition, and the trials of these."""
    by_attack_and_condition: dict[str, dict[str, TandemFigures | None]] = field(default_factory=dict)
    """By attack, then by condition."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "by_attack": _told(self.by_attack),
            "by_condition": _told(self.by_condition),
            "by_attack_and_condition": {
                attack: _told(row) for attack, row in self.by_attack_and_condition.items()
            },
        }


def tandem_figures(
    bona_fide: ArrayLike, spoof: ArrayLike, *, asv: Kinds | None, sasv: Kinds | None
) -> TandemFigures:
    """The figures of `measure_tandem` without intervals, as far as there are scores for them.

    ASV is held at the threshold of its equal error rate on these very trials, as in the ASVspoof 2021 package.

    Arguments as there; any of the scores may be missing.

    Raises:
        DataError: a score is not finite.

    Source: own.
    """
    costs: dict[Formula, float] = {}
    tandem_eer = None
    if asv is not None and _are_whole((bona_fide, spoof, *asv)):
        weights = t_dcf_weights(asv_rates(*asv))
        costs = {formula: min_t_dcf(bona_fide, spoof, own) for formula, own in weights.items()}
        tandem_eer = t_eer(bona_fide, spoof, *asv)
    return TandemFigures(
        *trial_counts(sasv if asv is None else asv),
        a_dcf(*sasv) if sasv is not None and _are_whole(sasv) else None,
        costs.get("2019"),
        costs.get("2021"),
        tandem_eer,
    )


def t_dcf_weights(rates: AsvRates) -> dict[Formula, TandemWeights]:
    """The t-DCF by each formula by which it exists for an ASV system of these errors."""
    found: dict[Formula, TandemWeights] = {}
    for formula in get_args(Formula):
        with suppress(DataError):  # nothing to normalise by
            found[formula] = tandem_weights(rates, formula)
    return found


def trial_counts(trials: Kinds | None) -> tuple[int, int, int]:
    """How many target, nontarget and spoof trials there are."""
    target, nontarget, spoof = (0, 0, 0) if trials is None else (np.size(scores) for scores in trials)
    return target, nontarget, spoof


def _are_whole(sets: Sequence[ArrayLike]) -> bool:
    return all(np.size(scores) for scores in sets)


def _told(parts: Mapping[str, TandemFigures | None]) -> dict[str, Any]:
    return {name: None if item is None else item.as_dict() for name, item in parts.items()}
