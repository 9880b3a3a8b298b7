"""A countermeasure's scores beside the trials of speaker verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.data.naming import meet
from molex_adapt.errors import DataError
from molex_adapt.metrics import (
    FEWEST_FOR_INTERVAL,
    TandemFigures,
    TandemParts,
    TandemRates,
    eer,
    eer_interval,
    measure_tandem,
    split_groups,
    tandem_figures,
)
from molex_adapt.scorefile import Joined
from molex_adapt.trialfile import KINDS, SPOOF, Trials

_Scores: TypeAlias = NDArray[np.float64]
_Rows: TypeAlias = NDArray[np.bool_]
_Places: TypeAlias = NDArray[np.intp]
_Names: TypeAlias = Sequence[str | None]

_NAMED = 10


def evaluate_tandem(
    joined: Joined,
    trials: Trials,
    *,
    sources: Sequence[str] | None = None,
    attacks: _Names | None = None,
    conditions: _Names | None = None,
    bootstrap: int = 1000,
) -> tuple[TandemRates, list[str]]:
    """Measure a-DCF, t-DCF and t-EER, as far as the trials have scores for them, also by attack and by condition.

    Trials of recordings that the countermeasure did not score are left out of t-DCF and t-EER. In the form of ASVspoof
    5 it counts once for each trial, as in that challenge's package, else once for each recording.

    Args:
        joined: (n,) the countermeasure's scores with labels.
        trials: of ASV, of SASV, or of both.
        sources: (n,) source recordings; intervals of t-DCF and t-EER then draw whole sources.
        attacks, conditions: (n,) of the recordings, which trials take over from them; an attack counts for spoofs only.
        bootstrap: resamples of each interval.

    Returns:
        The figures, and remarks on them.

    Raises:
        DataError: no trial, or no trial of one kind, is of a recording that was scored; or labels disagree.
    """
    places, remarks = _places(joined, trials)
    known = places >= 0
    kept = known if trials.files is not None else np.ones(places.size, dtype=bool)
    by_trial = trials.by_trial and trials.asv is not None
    rows = places[kept] if by_trial else np.arange(joined.scores.size)
    sets = _Sets(joined.scores[rows], joined.is_bona_fide[rows], trials, kept)
    figures, more = _pooled(sets, joined, rows, places, sources, bootstrap)
    parts, unmeasured = _parts(sets, rows, places, attacks, conditions)
    return replace(figures, parts=parts), [*remarks, *more, *unmeasured]


@dataclass(frozen=True)
class _Sets:
    """The countermeasure's (n,) scores and labels, and (m,) trials with those that were scored."""

    scores: _Scores
    real: _Rows
    trials: Trials
    kept: _Rows

    def classes(self, rows: _Rows) -> tuple[_Scores, _Scores]:
        """Bona fide and spoof scores among some rows."""
        return self.scores[rows & self.real], self.scores[rows & ~self.real]

    def asv(self, chosen: _Rows) -> tuple[_Scores, _Scores, _Scores] | None:
        """ASV's scores of some trials, of those that were scored, by kind."""
        return None if self.trials.asv is None else self._by_kind(self.trials.asv, chosen & self.kept)

    def sasv(self, chosen: _Rows) -> tuple[_Scores, _Scores, _Scores] | None:
        """SASV's scores of some trials by kind."""
        return None if self.trials.sasv is None else self._by_kind(self.trials.sasv, chosen)

    def _by_kind(self, scores: _Scores, chosen: _Rows) -> tuple[_Scores, _Scores, _Scores]:
        target, nontarget, spoof = (scores[chosen & (self.trials.kinds == kind)] for kind in KINDS)
        return target, nontarget, spoof


def _pooled(
    sets: _Sets,
    joined: Joined,
    rows: _Places,
    places: _Places,
    sources: Sequence[str] | None,
    bootstrap: int,
) -> tuple[TandemRates, list[str]]:
    """Figures of all together with intervals; what is of one source, else of one recording, is drawn together."""
    trials = sets.trials
    names = [
        source or name for source, name in zip(sources or joined.filenames, joined.filenames, strict=True)
    ]
    own = split_groups([names[at] for at in rows], np.ones_like(sets.real), sets.real)
    of_trials = None
    if trials.files is not None:
        named = [sets.kept & (trials.kinds == kind) for kind in KINDS]
        target, nontarget, spoof = ([names[at] for at in places[chosen]] for chosen in named)
        of_trials = target, nontarget, spoof
    every = np.ones(trials.kinds.size, dtype=bool)
    figures = measure_tandem(
        *sets.classes(np.ones_like(sets.real)),
        asv=sets.asv(every),
        sasv=sets.sasv(every),
        bootstrap=bootstrap,
        groups=own,
        trial_groups=of_trials,
    )
    remarks = [
        *_turned(f"{trials.origin}: ASV", sets.asv(every)),
        *_turned(f"{trials.origin}: SASV", sets.sasv(every)),
    ]
    if figures.asv is not None and (figures.t_dcf_2019 is None or figures.t_dcf_2021 is None):
        remarks.append(
            "the t-DCF does not exist for this ASV system: it verifies nobody, or no spoof deceives it"
        )
    return figures, remarks


def _turned(system: str, kinds: tuple[_Scores, _Scores, _Scores] | None) -> list[str]:
    """What to say of a system that accepts other speakers rather than the target; certain, as of a countermeasure."""
    if kinds is None:
        return []
    target, nontarget, _ = kinds
    rate = eer(target, nontarget)
    enough = min(target.size, nontarget.size) >= FEWEST_FOR_INTERVAL
    if rate <= 0.5 or not enough or eer_interval(target, nontarget)[0] <= 0.5:
        return []
    told = (
        f"{system} accepts nontargets rather than targets (EER {100 * rate:.1f} %): its scores are upside down, or the "
        "labels swapped. Higher means more the target speaker here; turn the sign of its scores in the file, for "
        "--negate turns those of the countermeasure"
    )
    return [told]


def _parts(
    sets: _Sets, rows: _Places, places: _Places, attacks: _Names | None, conditions: _Names | None
) -> tuple[TandemParts, list[str]]:
    """Figures by attack, by condition and by both, where trials say which they are of."""
    attack = _Column.of(attacks, rows, places, ~sets.real, sets.trials.attacks)
    condition = _Column.of(conditions, rows, places, np.ones_like(sets.real), None)
    spoofed = sets.trials.kinds == SPOOF

    def measured(of_attack: int | None, of_condition: int | None) -> TandemFigures | None:
        chosen, tried = np.ones_like(sets.real), np.ones_like(spoofed)
        if of_attack is not None:
            chosen &= sets.real | (attack.rows == of_attack)
            tried &= ~spoofed | (attack.trials == of_attack)
        if of_condition is not None:
            chosen &= condition.rows == of_condition
            tried &= condition.trials == of_condition
        found = tandem_figures(*sets.classes(chosen), asv=sets.asv(tried), sasv=sets.sasv(tried))
        return None if found.is_empty else found

    remarks = []
    if condition.names and sets.trials.files is None:
        remarks.append(
            "these trials do not name recordings, so that they have no conditions: figures beside speaker "
            "verification are pooled and by attack"
        )
        condition = replace(condition, names=())
    heard = set(zip(attack.rows[~sets.real].tolist(), condition.rows[~sets.real].tolist(), strict=True))
    parts = TandemParts(
        {name: measured(at, None) for at, name in enumerate(attack.names)},
        {name: measured(None, at) for at, name in enumerate(condition.names)},
        {
            name: row
            for at, name in enumerate(attack.names)
            if (
                row := {
                    place: measured(at, where)
                    for where, place in enumerate(condition.names)
                    if (at, where) in heard
                }
            )
        },
    )
    return parts, [*remarks, *_unmeasured(parts)]


@dataclass(frozen=True)
class _Column:
    """A column of names as numbers, of the countermeasure's rows and of the trials; -1 where there is none."""

    names: tuple[str, ...]
    rows: _Places
    trials: _Places

    @classmethod
    def of(
        cls, values: _Names | None, rows: _Places, places: _Places, counted: _Rows, told: _Names | None
    ) -> _Column:
        """Of recordings' `values`; names are those of `counted` rows. Trials may be `told` theirs by their own file."""
        recordings = list(values or [])
        named = {
            name
            for at, of in zip(rows, counted, strict=True)
            if of and recordings and (name := recordings[at])
        }
        names = tuple(sorted(str(name) for name in named))
        numbers: dict[str | None, int] = {name: at for at, name in enumerate(names)}
        known = np.array([numbers.get(name, -1) for name in recordings], dtype=np.intp)
        if told is not None:
            return cls(names, _taken(known, rows), np.array([numbers.get(name, -1) for name in told]))
        return cls(names, _taken(known, rows), _taken(known, places))


def _taken(known: _Places, places: _Places) -> _Places:
    """The numbers at some places, -1 where a place is none."""
    return np.append(known, -1)[np.where(places < known.size, places, -1)]


def _unmeasured(parts: TandemParts) -> list[str]:
    lacking = [
        name
        for found in (parts.by_attack, parts.by_condition)
        for name, item in found.items()
        if item is None
    ]
    if not lacking:
        return []
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    return [
        f"not measured beside speaker verification, for these lack a kind of trial: {', '.join(lacking[:_NAMED])}{more}"
    ]


def _places(joined: Joined, trials: Trials) -> tuple[_Places, list[str]]:
    """Where the recording of each trial stands among the scores, -1 where it was not scored or none is named."""
    if trials.files is None:
        return np.full(trials.kinds.size, -1, dtype=np.intp), []
    names = list(dict.fromkeys(trials.files))
    found = dict(zip(names, meet(names, joined.filenames), strict=True))
    places = np.array([-1 if found[name] is None else found[name] for name in trials.files], dtype=np.intp)
    kept = places >= 0
    lacking = [kind for kind in KINDS if not (kept & (trials.kinds == kind)).any()]
    if lacking and trials.asv is not None:
        raise DataError(
            f"{trials.origin}: no {' and no '.join(lacking)} trial is of a recording that was scored. Expected the "
            f"names of the scores, such as {joined.filenames[0]!r}; the trials have such as {trials.files[0]!r}."
        )
    wrong = kept & (joined.is_bona_fide[places] == (trials.kinds == SPOOF))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{trials.origin}: {trials.files[at]} is of a {trials.kinds[at]} trial, but "
            f"{'bona fide' if joined.is_bona_fide[places[at]] else 'spoofed'} in the key of the scores "
            f"({int(wrong.sum())} such trials). Mend either."
        )
    left_out = int((~kept).sum())
    told = f"trials of recordings that were not scored are left out: {left_out} of {kept.size}"
    return places, [told] if left_out and trials.asv is not None else []
