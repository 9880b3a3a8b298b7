"""Scores of recordings with what they mean: probability, decision, experts, remarks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molex_adapt.api.journal import Journal
from molex_adapt.data import Failed, Table, remarks_on
from molex_adapt.data.remarks import OUTSIDE, Remark, on_table, summary
from molex_adapt.decision import DecisionRule
from molex_adapt.digest import sha256
from molex_adapt.processes import from_first
from molex_adapt.registry import GenerationRecord, Store
from molex_adapt.reports import RecordingScore, ScoreReport, Unheard
from molex_adapt.run import Run
from molex_adapt.version import __version__
from molex_adapt.windows import UtteranceScore

if TYPE_CHECKING:
    from molex_adapt.detector import Detector


@dataclass(frozen=True)
class ScoreSource:
    """What scores: a generation of a registry, or an exported detector.

    Attributes:
        generation, threshold, unheard: as in `ScoreReport`.
        detector: text that tells this detector's scores from those of any other.
        score_table: as `features.score_table`, without its detector.
    """

    generation: int
    threshold: float | None
    unheard: Unheard | None
    detector: str
    score_table: Callable[..., tuple[list[UtteranceScore], tuple[Failed, ...]]]


def active_source(store: Store, detector: Callable[..., Detector], run: Run) -> ScoreSource:
    """The active generation; `detector` makes its own, once it is known that there is something to score."""
    record = store.generation()

    def score(*given: Any, **named: Any) -> tuple[list[UtteranceScore], tuple[Failed, ...]]:
        from molex_adapt.features import score_table

        return score_table(detector(record.number, run=run), *given, **named)

    name = sha256(__version__, str(record.calibration), str(run.precision), *sorted(record.files.values()))
    return ScoreSource(record.number, record.threshold, unheard_of(store, record), name, score)


def exported_source(folder: Path, run: Run) -> ScoreSource:
    """What `molex-adapt export` wrote; torch is not asked for."""
    from molex_adapt.exported.description import Description
    from molex_adapt.exported.scoring import ExportedDetector

    told = Description.read(folder)

    def score(*given: Any, **named: Any) -> tuple[list[UtteranceScore], tuple[Failed, ...]]:
        return ExportedDetector(folder, run.device).score_table(*given, **named)

    unheard = None if told.unheard is None else Unheard(**told.unheard)
    name = sha256(__version__, *sorted(told.files.values()))
    return ScoreSource(told.generation, told.threshold, unheard, name, score)


def score(
    source: ScoreSource, table: Table, rule: DecisionRule, journal: Path | None, run: Run
) -> ScoreReport:
    """Score a table; see `Registry.score`.

    Raises:
        DataError: the journal is something else's.
    """
    started = time.monotonic()
    if journal is None:
        found, failed = source.score_table(table, run)
    else:
        found, failed = _journalled(source, table, journal, run)
    scores = tuple(_meaning(item, rule) for item in found)
    return ScoreReport(
        scores,
        failed,
        source.generation,
        source.threshold,
        time.monotonic() - started,
        [*summary((item.path, item.remarks) for item in scores), *on_table(table)],
        passed_over=table.passed_over,
        rule=rule,
        unheard=source.unheard,
    )


def unheard_of(store: Store, record: GenerationRecord) -> Unheard | None:
    """Of the generation in which the threshold was chosen; later ones keep it."""
    former = store.tried_on_unheard(record.number)
    if former is None or former.unheard is None:
        return None
    return Unheard(**former.unheard.model_dump(), generation=former.number)


def _journalled(
    source: ScoreSource, table: Table, path: Path, run: Run
) -> tuple[list[UtteranceScore], tuple[Failed, ...]]:
    """Scores in the order of the table; those that the journal knows are taken from it."""
    journal = Journal.open(path, source.detector, run.resume)
    try:
        known = from_first(
            lambda: {str(item.path): kept for item in table if (kept := journal.known(item)) is not None}
        )
        left = table.with_utterances(tuple(item for item in table if str(item.path) not in known))
        failed: tuple[Failed, ...] = ()
        if known:
            run.progress.note(f"{len(known)} of {len(table)} recordings were scored before the interruption.")
        if len(left):
            scored, failed = source.score_table(left, run, told=journal.add)
            known |= {str(item.utterance.path): item for item in scored}
        return [known[str(item.path)] for item in table if str(item.path) in known], failed
    finally:
        journal.close()


def _meaning(item: UtteranceScore, rule: DecisionRule) -> RecordingScore:
    remarks = (*remarks_on(item.heard), *_stretch(item, rule))
    outside = any(remark.kind in OUTSIDE for remark in remarks)
    return RecordingScore(
        str(item.utterance.path),
        item.score,
        item.seconds,
        item.heard,
        remarks,
        rule.outcome(item.score, outside=outside),
        rule.probability(item.score),
        item.experts,
        item.lowest,
    )


def _stretch(item: UtteranceScore, rule: DecisionRule) -> tuple[Remark, ...]:
    """A mean over a long recording hides a forged part of it: a window that would read as spoof by itself is told."""
    if item.lowest is None or rule.threshold is None or item.score < rule.threshold:
        return ()
    if item.lowest >= rule.threshold - rule.band:
        return ()
    text = f"a stretch of it scores {item.lowest:+.1f} by itself; molex-adapt analyze FILE shows where"
    return (Remark("stretch", text),)
