"""A countermeasure's scores and trials of speaker verification, and their figures by attack and by condition.

Shapes: n recordings, r scores of the countermeasure that count, m trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.metrics import TandemFigures, TandemParts, tandem_figures
from molex_adapt.trialfile import KINDS, SPOOF, Scores, Trials

Rows: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.intp]
Names: TypeAlias = Sequence[str | None]
ByKind: TypeAlias = tuple[Scores, Scores, Scores]
"""Scores of target, nontarget and spoof trials."""

_NAMED = 10


@dataclass(frozen=True)
class Sets:
    """The countermeasure's (r,) scores and labels, and (m,) trials with those whose recordings were scored."""

    scores: Scores
    real: Rows
    trials: Trials
    kept: Rows

    def classes(self, rows: Rows) -> tuple[Scores, Scores]:
        """Bona fide and spoof scores among some rows."""
        return self.scores[rows & self.real], self.scores[rows & ~self.real]

    def asv(self, chosen: Rows) -> ByKind | None:
        """ASV's scores of some trials, of those that were scored, by kind."""
        return None if self.trials.asv is None else self._by_kind(self.trials.asv, chosen & self.kept)

    def sasv(self, chosen: Rows) -> ByKind | None:
        """SASV's scores of some trials by kind."""
        return None if self.trials.sasv is None else self._by_kind(self.trials.sasv, chosen)

    def _by_kind(self, scores: Scores, chosen: Rows) -> ByKind:
        target, nontarget, spoof = (scores[chosen & (self.trials.kinds == kind)] for kind in KINDS)
        return target, nontarget, spoof


def tandem_parts(
    sets: Sets,
    real: Rows,
    rows: Places,
    places: Places,
    attacks: Names | None,
    conditions: Names | None,
) -> tuple[TandemParts, list[str]]:
    """Figures by attack, by condition and by both, where trials say which they are of; and remarks.

    Args:
        sets: what counts.
        real: (n,) labels of the recordings.
        rows: (r,) recordings of the countermeasure's scores.
        places: (m,) recordings of the trials, -1 where none is known.
        attacks, conditions: (n,) of the recordings.
    """
    spoofs = [None if own else name for own, name in zip(real, attacks or [None] * real.size, strict=True)]
    attack = _Column.of(spoofs, rows, places, sets.trials.attacks)
    condition = _Column.of(conditions or [None] * real.size, rows, places, None)
    remarks = []
    if condition.names and sets.trials.files is None:
        remarks.append(
            "these trials do not name recordings, so that they have no conditions: figures beside speaker "
            "verification are pooled and by attack"
        )
        condition = _Column.of([None] * real.size, rows, places, None)
    spoofed = sets.trials.kinds == SPOOF

    def measured(name: str | None, place: str | None) -> TandemFigures | None:
        chosen, tried = np.ones_like(sets.real), np.ones_like(spoofed)
        if name is not None:
            at = attack.names.index(name)
            chosen &= sets.real | (attack.rows == at)
            tried &= ~spoofed | (attack.trials == at)
        if place is not None:
            at = condition.names.index(place)
            chosen &= condition.rows == at
            tried &= condition.trials == at
        found = tandem_figures(*sets.classes(chosen), asv=sets.asv(tried), sasv=sets.sasv(tried))
        return None if found.is_empty else found

    grid: dict[str, dict[str, TandemFigures | None]] = {}
    heard = zip(attack.recordings.tolist(), condition.recordings.tolist(), strict=True)
    for at, where in sorted({pair for pair in heard if min(pair) >= 0}):
        name, place = attack.names[at], condition.names[where]
        grid.setdefault(name, {})[place] = measured(name, place)
    parts = TandemParts(
        {name: measured(name, None) for name in attack.names},
        {place: measured(None, place) for place in condition.names},
        grid,
    )
    return parts, [*remarks, *_unmeasured(parts)]


@dataclass(frozen=True)
class _Column:
    """A column of names as numbers, of recordings, of the countermeasure's scores and of trials; -1 for none."""

    names: tuple[str, ...]
    recordings: Places
    rows: Places
    trials: Places

    @classmethod
    def of(cls, values: Names, rows: Places, places: Places, told: Names | None) -> _Column:
        """Of the recordings' `values`; trials may be `told` theirs by their own file."""
        names = tuple(sorted({name for name in values if name}))
        numbers: dict[str | None, int] = {name: at for at, name in enumerate(names)}
        known = np.array([numbers.get(name, -1) for name in values], dtype=np.intp)
        trials = _taken(known, places)
        if told is not None:
            trials = np.array([numbers.get(name, -1) for name in told], dtype=np.intp)
        return cls(names, known, _taken(known, rows), trials)


def _taken(known: Places, places: Places) -> Places:
    """The numbers at some places, -1 where a place is -1."""
    return np.append(known, -1)[places]


def _unmeasured(parts: TandemParts) -> list[str]:
    together = [*parts.by_attack.items(), *parts.by_condition.items()]
    lacking = [name for name, item in together if item is None]
    if not lacking:
        return []
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    told = (
        "not measured beside speaker verification, for these lack a class or a kind of trial: "
        f"{', '.join(lacking[:_NAMED])}{more}"
    )
    return [told]
