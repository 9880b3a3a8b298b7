"""How good scores are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.data.table import Failed
from molex_adapt.metrics import (
    TANDEM_FIGURES,
    CostIntervals,
    EvaluationCurves,
    Rates,
    Refusals,
    TandemRates,
    Ties,
)
from molex_adapt.reports.figures import figures

_RATES = ("eer", "min_dcf", "act_dcf", "cllr", "bona_fide", "spoof")
"""Figures of the cells of a pivot."""


@dataclass(frozen=True, slots=True)
class OtherTies:
    """EERs by the other reading of equal scores, where they differ from the report's."""

    ties: Ties
    """The other reading."""
    overall: float | None = None
    by_attack: dict[str, float] = field(default_factory=dict)
    by_condition: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeardInTraining:
    """What of an evaluated data set the mixture was trained on."""

    recordings: int
    by_expert: dict[str, int]
    without: Rates | None
    """Of those that neither training nor calibration heard; None where a class is missing among them."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        rest = None if self.without is None else figures(self.without)
        return {"recordings": self.recordings, "by_expert": dict(self.by_expert), "without": rest}


@dataclass(frozen=True)
class EvaluationReport:
    """How good scores are: together, per attack, per condition and per attack in each condition."""

    overall: Rates
    by_attack: dict[str, Rates]
    by_condition: dict[str, Rates | None] = field(default_factory=dict)
    """None: a class is missing there."""
    by_attack_and_condition: dict[str, dict[str, Rates | None]] = field(default_factory=dict)
    """By attack, then by condition; None: no bona fide speech in that condition."""
    threshold: float | None = None
    """Nats, as in `ScoreReport`; None: none is known, and what it refuses is not measured."""
    refused: Refusals | None = None
    """Of all bona fide speech, at the threshold."""
    refused_by_condition: dict[str, Refusals] = field(default_factory=dict)
    failed: tuple[Failed, ...] = ()
    generation: int | None = None
    remarks: list[str] = field(default_factory=list)
    ties: Ties = "asvspoof5"
    """How equal scores were read."""
    other_ties: OtherTies = OtherTies("step")
    heard_in_training: HeardInTraining | None = None
    """None: no record says that the mixture learnt from this data set."""
    trained_on: list[str] = field(default_factory=list)
    """Corpora that the data is called after, and that the published detector behind the mixture was trained on."""
    intervals: CostIntervals | None = None
    """Of the costs of all together; None: too few recordings."""
    tandem: TandemRates | None = None
    """Beside speaker verification; None: no trials were given."""
    curves: EvaluationCurves | None = None
    """For plots; not among the JSON values."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; of too few recordings, `eer_ci` is None."""
        return {
            "overall": figures(self.overall),
            "by_attack": _allfigures(self.by_attack),
            "by_condition": _allfigures(self.by_condition),
            "by_attack_and_condition": {
                attack: _allfigures(row) for attack, row in self.by_attack_and_condition.items()
            },
            "pivot": _pivot(self.by_attack, self.by_condition, self.cell, _RATES),
            "intervals": None if self.intervals is None else self.intervals.as_dict(),
            "tandem": self._tandem(),
            "bona_fide_refused": self._refusals(),
            "failed": [item.as_dict() for item in self.failed],
            "generation": self.generation,
            "remarks": list(self.remarks),
            "ties": self.ties,
            "other_ties": asdict(self.other_ties),
            "heard_in_training": None if self.heard_in_training is None else self.heard_in_training.as_dict(),
            "trained_on": list(self.trained_on),
        }

    def cell(self, attack: str | None, condition: str | None) -> Rates | None:
        """Figures of an attack in a condition; None for either takes all of them. None: not measured, or not there."""
        if attack is None:
            return self.overall if condition is None else self.by_condition.get(condition)
        if condition is None:
            return self.by_attack.get(attack)
        return self.by_attack_and_condition.get(attack, {}).get(condition)

    def _tandem(self) -> dict[str, Any] | None:
        if self.tandem is None:
            return None
        parts = self.tandem.parts
        figures = (*TANDEM_FIGURES, "target", "nontarget", "spoof")
        return {
            **self.tandem.as_dict(),
            "pivot": _pivot(parts.by_attack, parts.by_condition, self.tandem.cell, figures),
        }

    def _refusals(self) -> dict[str, Any] | None:
        """None where there is no threshold."""
        if self.threshold is None or self.refused is None:
            return None
        return {
            "threshold": self.threshold,
            "overall": self.refused.as_dict(),
            "by_condition": {name: item.as_dict() for name, item in self.refused_by_condition.items()},
        }


def _allfigures(rates: Mapping[str, Rates | None]) -> dict[str, Any]:
    return {name: None if item is None else figures(item) for name, item in rates.items()}


def _pivot(
    attacks: Iterable[str],
    conditions: Iterable[str],
    cell: Callable[[str | None, str | None], object],
    figures: Sequence[str],
) -> dict[str, Any]:
    """The cells as tables with a row per attack and a column per condition; null in either names all together."""
    rows: list[str | None] = [*attacks, None]
    columns: list[str | None] = [*conditions, None]
    cells = [[cell(attack, condition) for condition in columns] for attack in rows]
    tables = {
        name: [[None if item is None else getattr(item, name) for item in row] for row in cells]
        for name in figures
    }
    return {"attacks": rows, "conditions": columns, **tables}
