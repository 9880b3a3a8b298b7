"""From scores with their truth to a report: all together, per attack, per codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molex_adapt.errors import DataError
from molex_adapt.metrics import measure_by_attack, measure_by_condition
from molex_adapt.reports import EvaluationReport
from molex_adapt.scorefile import Joined, join, read_key, read_scores

CODEC_COLUMNS = ("codec", "codec_q")
ATTACK_COLUMN = "attack"


def evaluate_files(
    scores: Path, key: Path, *, bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> EvaluationReport:
    """Evaluate a score file against its key, both as in the ASVspoof 5 evaluation.

    Args:
        scores: tab-separated `filename`, `cm-score`.
        key: tab-separated `filename`, `cm-label`; columns `attack` and `codec` give the breakdown.
        bootstrap, seed, confidence: of the EER's interval.

    Raises:
        DataError: a file is not what it should be, they do not fit each other, or a class is missing.
    """
    joined = join(read_scores(scores), read_key(key))
    if joined.is_bona_fide.all() or not joined.is_bona_fide.any():
        raise DataError(
            f"{key}: every file is {'bona fide' if joined.is_bona_fide[0] else 'spoofed'}. Expected both classes: "
            "without one, error rates do not exist. Check the labels, or add the other class to scores and key."
        )
    return evaluate_scores(joined, bootstrap=bootstrap, seed=seed, confidence=confidence)


def evaluate_scores(
    joined: Joined,
    *,
    sources: Sequence[str] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> EvaluationReport:
    """Evaluate scores that stand beside their truth.

    Args:
        joined: (n,) scores with labels, and columns `attack`, `codec` where known.
        sources: (n,) source recordings; the interval then draws whole sources.
        bootstrap, seed, confidence: of the EER's interval.

    Raises:
        DataError: a class is missing.
    """
    attacks = _column(joined, (ATTACK_COLUMN,)) or [None] * len(joined.filenames)
    found = measure_by_attack(
        joined.scores,
        joined.is_bona_fide,
        attacks,
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        groups=sources,
    )
    codecs = _column(joined, CODEC_COLUMNS)
    by_codec = {}
    if codecs is not None:
        by_codec = measure_by_condition(
            joined.scores,
            joined.is_bona_fide,
            codecs,
            bootstrap=bootstrap,
            seed=seed,
            confidence=confidence,
            groups=sources,
        )
    remarks = [
        f"codec {name} lacks a class: not measured" for name, rates in by_codec.items() if rates is None
    ]
    return EvaluationReport(found["overall"], found["by_attack"], by_codec, remarks=remarks)


def _column(joined: Joined, names: Sequence[str]) -> list[str | None] | None:
    """The first of these columns that is there; a dash or nothing means no value."""
    for name in names:
        if name in joined.columns:
            return [None if value in ("", "-") else value for value in joined.columns[name]]
    return None
