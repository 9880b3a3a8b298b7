"""A countermeasure's scores beside the trials of speaker verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from molex_adapt.data.naming import meet
from molex_adapt.errors import DataError
from molex_adapt.metrics import (
    FEWEST_FOR_INTERVAL,
    TandemRates,
    eer,
    eer_interval,
    measure_tandem,
    split_groups,
)
from molex_adapt.scorefile import Joined
from molex_adapt.tandem_parts import ByKind, Names, Places, Sets, tandem_parts
from molex_adapt.trialfile import KINDS, SPOOF, Trials


def evaluate_tandem(
    joined: Joined,
    trials: Trials,
    *,
    sources: Sequence[str] | None = None,
    attacks: Names | None = None,
    conditions: Names | None = None,
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
    sets = Sets(joined.scores[rows], joined.is_bona_fide[rows], trials, kept)
    figures, more = _pooled(sets, joined, rows, places, sources, bootstrap)
    parts, unmeasured = tandem_parts(sets, joined.is_bona_fide, rows, places, attacks, conditions)
    return replace(figures, parts=parts), [*remarks, *more, *unmeasured]


def _pooled(
    sets: Sets,
    joined: Joined,
    rows: Places,
    places: Places,
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


def _turned(system: str, kinds: ByKind | None) -> list[str]:
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


def _places(joined: Joined, trials: Trials) -> tuple[Places, list[str]]:
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
