"""From scores with their truth to a report: all together, per attack, per condition, per attack in each condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from molex_adapt.control import fault_of_control
from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.data.formats import cell
from molex_adapt.data.manifest import CONDITION_COLUMNS
from molex_adapt.errors import DataError
from molex_adapt.metrics import (
    FEWEST_FOR_INTERVAL,
    Breakdown,
    Rates,
    Ties,
    count_refusals,
    curves_of,
    measure_by_attack,
    measure_by_condition,
    measure_grid,
    refusals_by_condition,
)
from molex_adapt.reports import EvaluationReport, OtherTies
from molex_adapt.scorefile import Joined, join, read_scores
from molex_adapt.scoretable import is_table, read_table
from molex_adapt.tandem import evaluate_tandem
from molex_adapt.text import all_of, command_line
from molex_adapt.trialfile import Trials
from molex_adapt.truth import read_truth

ATTACK_COLUMN = "attack"
_NAMED = 10


def evaluate_files(
    scores: Path,
    key: Path,
    *,
    ties: Ties = "asvspoof5",
    threshold: float | None = None,
    negate: bool = False,
    trials: Trials | None = None,
    curves: bool = False,
) -> EvaluationReport:
    """Evaluate a score file against its key, both as in the ASVspoof 5 evaluation.

    Args:
        scores: tab-separated `filename`, `cm-score`; lines of name and score; or a table as `score --out` writes it.
        key: tab-separated `filename`, `cm-label`; columns `attack` and `condition` (or `codec`, or `codec_q`) give the
            breakdown. Or a protocol of ASVspoof, or a manifest.
        ties: what becomes of equal scores, see `metrics.Ties`; the default gives the evaluation package's figures.
        threshold: in the scores' unit, which a score file does not say; see `evaluate_scores`.
        negate: turn every score's sign, for files in which a lower score means more bona fide.
        trials, curves: see `evaluate_scores`.

    Raises:
        DataError: a file is not what it should be, they do not fit each other, or a class is missing.
    """
    given = read_table(scores) if is_table(scores) else read_scores(scores)
    joined = join(replace(given, values=-given.values) if negate else given, read_truth(key))
    if joined.is_bona_fide.all() or not joined.is_bona_fide.any():
        raise DataError(
            f"{key}: every file is {'bona fide' if joined.is_bona_fide[0] else 'spoofed'}. Expected both classes: "
            "without one, error rates do not exist. Check the labels, or add the other class to scores and key."
        )
    command = command_line(["molex-adapt", "evaluate", "--scores", str(scores), "--key", str(key)])
    turn = f"to turn the scores: {command}{'' if negate else ' --negate'}"
    return evaluate_scores(joined, ties=ties, threshold=threshold, turn=turn, trials=trials, curves=curves)


def evaluate_scores(
    joined: Joined,
    *,
    sources: Sequence[str] | None = None,
    bootstrap: int = 1000,
    ties: Ties = "asvspoof5",
    threshold: float | None = None,
    turn: str = "check the labels",
    trials: Trials | None = None,
    curves: bool = False,
) -> EvaluationReport:
    """Evaluate scores that stand beside their truth.

    Args:
        joined: (n,) scores with labels, and columns `attack`, `condition` where known.
        sources: (n,) source recordings; the interval then draws whole sources.
        bootstrap: resamples of the EER's interval.
        ties: what becomes of equal scores, see `metrics.Ties`.
        threshold: at least this score is accepted; without it nothing is said of refused bona fide speech.
        turn: what a remark advises where the scores tell the classes apart the wrong way round.
        trials: of speaker verification, for a-DCF, t-DCF and t-EER.
        curves: also keep what DET and calibration plots show.

    Raises:
        DataError: a class is missing, or the trials do not fit.
    """
    attacks = _column(joined, (ATTACK_COLUMN,))
    conditions = _column(joined, CONDITION_COLUMNS)
    columns = joined.scores, joined.is_bona_fide
    (other,) = set(get_args(Ties)) - {ties}

    def read(ties: Ties, bootstrap: int) -> tuple[Breakdown, dict[str, Rates | None]]:
        return (
            measure_by_attack(*columns, attacks, groups=sources, bootstrap=bootstrap, ties=ties),
            measure_by_condition(*columns, conditions, groups=sources, bootstrap=bootstrap, ties=ties),
        )

    found, by_condition = read(ties, bootstrap)
    overall, by_attack = found["overall"], found["by_attack"]
    of_other, by_other_condition = read(other, 1)  # its intervals are not read
    few = _too_few([(all_of(by_attack), overall), *by_attack.items(), *by_condition.items()])
    report = EvaluationReport(
        overall,
        by_attack,
        by_condition,
        measure_grid(*columns, attacks, conditions, groups=sources, bootstrap=bootstrap, ties=ties),
        remarks=[
            *_turned(overall, turn),
            *joined.remarks,
            *_unmeasured(by_condition),
            *_control(by_attack),
            *few,
        ],
        ties=ties,
        other_ties=OtherTies(
            other,
            of_other["overall"].eer if of_other["overall"].eer != overall.eer else None,
            _other_eers(by_attack, of_other["by_attack"]),
            _other_eers(by_condition, by_other_condition),
        ),
        intervals=found["intervals"] if overall.has_interval else None,
    )
    if trials is not None:
        tandem, remarks = evaluate_tandem(
            joined,
            trials,
            sources=sources,
            attacks=attacks,
            conditions=conditions,
            bootstrap=bootstrap,
        )
        report = replace(report, tandem=tandem, remarks=[*report.remarks, *remarks])
    if curves:
        report = replace(report, curves=curves_of(*columns, attacks))
    if threshold is None:
        return report
    return replace(
        report,
        threshold=threshold,
        refused=count_refusals(joined.scores[joined.is_bona_fide], threshold),
        refused_by_condition=refusals_by_condition(*columns, conditions, threshold),
    )


def _turned(rates: Rates, turn: str) -> list[str]:
    if not rates.has_interval or rates.eer_ci[0] <= 0.5:
        return []
    told = (
        f"an EER of {100 * rates.eer:.1f} % is worse than chance: the scores are upside down, or the labels swapped. "
        f"Higher means more bona fide here; {turn}"
    )
    return [told]


def _too_few(parts: Iterable[tuple[str, Rates | None]]) -> list[str]:
    """Parts without an interval, and how many recordings one needs."""
    few = [
        f"{name} ({item.bona_fide} bona fide, {item.spoof} spoof)"
        for name, item in parts
        if item is not None and not item.has_interval
    ]
    if not few:
        return []
    more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    return [
        f"too few for an interval, {FEWEST_FOR_INTERVAL} of each class are needed: {', '.join(few[:_NAMED])}{more}"
    ]


def _unmeasured(by_condition: Mapping[str, Rates | None]) -> list[str]:
    lacking = [name for name, rates in by_condition.items() if rates is None]
    if not lacking:
        return []
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    return [f"not measured, for these conditions lack a class: {', '.join(lacking[:_NAMED])}{more}"]


def _control(by_attack: Mapping[str, Rates]) -> list[str]:
    rates = by_attack.get(NULL_DOMAIN)
    if rates is None:
        return []
    pooled = f"the figures of all attacks together count the control {NULL_DOMAIN} as one: see each attack"
    return [*fault_of_control(rates.eer, rates.eer_ci), *([pooled] if len(by_attack) > 1 else [])]


def _other_eers(rates: Mapping[str, Rates | None], other: Mapping[str, Rates | None]) -> dict[str, float]:
    pairs = ((name, item, other[name]) for name, item in rates.items())
    return {name: that.eer for name, this, that in pairs if this and that and this.eer != that.eer}


def _column(joined: Joined, names: Sequence[str]) -> list[str | None]:
    """The first of these columns that is there."""
    for name in names:
        if name in joined.columns:
            return [cell(value) for value in joined.columns[name]]
    return [None] * len(joined.filenames)
