"""From scores with their truth to a report: all together, per attack, per codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from molex_adapt.errors import DataError
from molex_adapt.metrics import Rates, Ties, measure_by_attack, measure_by_condition
from molex_adapt.reports import EvaluationReport, OtherTies
from molex_adapt.scorefile import Joined, join, read_key, read_scores

CODEC_COLUMNS = ("codec", "codec_q")
ATTACK_COLUMN = "attack"


def evaluate_files(scores: Path, key: Path, *, ties: Ties = "asvspoof5") -> EvaluationReport:
    """Evaluate a score file against its key, both as in the ASVspoof 5 evaluation.

    Args:
        scores: tab-separated `filename`, `cm-score`.
        key: tab-separated `filename`, `cm-label`; columns `attack` and `codec` give the breakdown.
        ties: what becomes of equal scores, see `metrics.Ties`; the default gives the evaluation package's figures.

    Raises:
        DataError: a file is not what it should be, they do not fit each other, or a class is missing.
    """
    joined = join(read_scores(scores), read_key(key))
    if joined.is_bona_fide.all() or not joined.is_bona_fide.any():
        raise DataError(
            f"{key}: every file is {'bona fide' if joined.is_bona_fide[0] else 'spoofed'}. Expected both classes: "
            "without one, error rates do not exist. Check the labels, or add the other class to scores and key."
        )
    return evaluate_scores(joined, ties=ties)


def evaluate_scores(
    joined: Joined, *, sources: Sequence[str] | None = None, bootstrap: int = 1000, ties: Ties = "asvspoof5"
) -> EvaluationReport:
    """Evaluate scores that stand beside their truth.

    Args:
        joined: (n,) scores with labels, and columns `attack`, `codec` where known.
        sources: (n,) source recordings; the interval then draws whole sources.
        bootstrap: resamples of the EER's interval.
        ties: what becomes of equal scores, see `metrics.Ties`.

    Raises:
        DataError: a class is missing.
    """
    told = partial(_measure, joined, groups=sources)
    overall, by_attack, by_codec = told(bootstrap=bootstrap, ties=ties)
    (other,) = set(get_args(Ties)) - {ties}
    by_other = told(bootstrap=1, ties=other)  # its intervals are not read
    remarks = [
        f"codec {name} lacks a class: not measured" for name, rates in by_codec.items() if rates is None
    ]
    eers = OtherTies(
        other,
        by_other[0].eer if by_other[0].eer != overall.eer else None,
        _other_eers(by_attack, by_other[1]),
        _other_eers(by_codec, by_other[2]),
    )
    return EvaluationReport(overall, by_attack, by_codec, remarks=remarks, ties=ties, other_ties=eers)


def _measure(joined: Joined, **how: Any) -> tuple[Rates, dict[str, Rates], dict[str, Rates | None]]:
    """Figures of all utterances, by attack and by codec."""
    attacks = _column(joined, (ATTACK_COLUMN,)) or [None] * len(joined.filenames)
    found = measure_by_attack(joined.scores, joined.is_bona_fide, attacks, **how)
    codecs = _column(joined, CODEC_COLUMNS)
    by_codec = (
        {} if codecs is None else measure_by_condition(joined.scores, joined.is_bona_fide, codecs, **how)
    )
    return found["overall"], found["by_attack"], by_codec


def _other_eers(rates: Mapping[str, Rates | None], other: Mapping[str, Rates | None]) -> dict[str, float]:
    pairs = ((name, item, other[name]) for name, item in rates.items())
    return {name: that.eer for name, this, that in pairs if this and that and this.eer != that.eer}


def _column(joined: Joined, names: Sequence[str]) -> list[str | None] | None:
    """The first of these columns that is there; a dash or nothing means no value."""
    for name in names:
        if name in joined.columns:
            return [None if value in ("", "-") else value for value in joined.columns[name]]
    return None
