"""A countermeasure's scores beside the trials of speaker verification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molex_adapt.data.naming import meet
from molex_adapt.errors import DataError
from molex_adapt.metrics import TandemRates, measure_tandem, split_groups
from molex_adapt.scorefile import Joined
from molex_adapt.trialfile import KINDS, SPOOF, Trials


def evaluate_tandem(
    joined: Joined, trials: Trials, *, sources: Sequence[str] | None = None, bootstrap: int = 1000
) -> tuple[TandemRates, list[str]]:
    """Measure a-DCF, t-DCF and t-EER, as far as the trials have scores for them.

    Trials of recordings that the countermeasure did not score are left out of t-DCF and t-EER. In the form of ASVspoof
    5 it counts once for each trial, as in that challenge's package, else once for each recording.

    Args:
        joined: (n,) the countermeasure's scores with labels.
        trials: of ASV, of SASV, or of both.
        sources: (n,) source recordings; intervals of the t-DCF then draw whole sources.
        bootstrap: resamples of each interval.

    Returns:
        The figures, and remarks on them.

    Raises:
        DataError: no trial, or no trial of one kind, is of a recording that was scored; or labels disagree.
    """
    sasv = None if trials.sasv is None else trials.of(trials.sasv)
    real = joined.is_bona_fide
    if trials.asv is None:
        figures = measure_tandem(
            joined.scores[real], joined.scores[~real], asv=None, sasv=sasv, bootstrap=bootstrap
        )
        return figures, []
    places, remarks = _places(joined, trials)
    kept = places >= 0
    asv = tuple(trials.asv[kept & (trials.kinds == kind)] for kind in KINDS)
    rows = places[kept] if trials.by_trial else np.arange(real.size)
    names = joined.filenames if sources is None and trials.by_trial else sources
    own = real[rows]
    groups = None if names is None else split_groups([names[at] for at in rows], np.ones_like(own), own)
    scores = joined.scores[rows]
    figures = measure_tandem(
        scores[own],
        scores[~own],
        asv=(asv[0], asv[1], asv[2]),
        sasv=sasv,
        bootstrap=bootstrap,
        groups=groups,
    )
    if figures.t_dcf_2019 is None or figures.t_dcf_2021 is None:
        remarks.append(
            "the t-DCF does not exist for this ASV system: it verifies nobody, or no spoof deceives it"
        )
    return figures, remarks


def _places(joined: Joined, trials: Trials) -> tuple[NDArray[np.intp], list[str]]:
    """Where the recording of each trial stands among the scores, -1 where it was not scored; 0 where none is named."""
    if trials.files is None:
        return np.zeros(trials.kinds.size, dtype=np.intp), []
    names = list(dict.fromkeys(trials.files))
    found = dict(zip(names, meet(names, joined.filenames), strict=True))
    places = np.array([-1 if found[name] is None else found[name] for name in trials.files], dtype=np.intp)
    kept = places >= 0
    lacking = [kind for kind in KINDS if not (kept & (trials.kinds == kind)).any()]
    if lacking:
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
    return places, [told] if left_out else []
