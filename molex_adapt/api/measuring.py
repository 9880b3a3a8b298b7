"""What a detector makes of labelled data: error rates, and what its experts do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from molex_adapt.analysis import analyse_features, analyse_table
from molex_adapt.analysis.unlabelled import known_of_features, known_of_table, novelty
from molex_adapt.api.inputs import Data, recordings, table_of
from molex_adapt.api.known import old_domains
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Table
from molex_adapt.data.manifest import CONDITION_COLUMNS
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.evaluation import ATTACK_COLUMN, evaluate_scores
from molex_adapt.features import concatenate, score_table
from molex_adapt.findings import Novelty
from molex_adapt.metrics import Ties
from molex_adapt.registry import Store
from molex_adapt.reports import Analysis, EvaluationReport
from molex_adapt.run import Run
from molex_adapt.scorefile import Joined

_NOTHING = "no utterances to analyse: {}; give a folder of recordings"


def evaluate(detector: Detector, table: Table, threshold: float, ties: Ties, run: Run) -> EvaluationReport:
    """Score and measure: overall, per attack, per condition and both, and what `threshold` refuses.

    Raises:
        DataError: of a class, nothing can be scored.
    """
    scored, failed = score_table(detector, table, run)
    items = [item.utterance for item in scored]
    table.with_utterances(tuple(items)).require_usable("evaluation", table, failed)
    joined = Joined(
        tuple(str(item.path) for item in items),
        np.array([item.score for item in scored]),
        np.array([item.label == BONA_FIDE for item in items]),
        {
            ATTACK_COLUMN: tuple(item.attack or "" for item in items),
            CONDITION_COLUMNS[0]: tuple(item.condition or "" for item in items),
        },
    )
    report = evaluate_scores(joined, sources=[item.source for item in items], ties=ties, threshold=threshold)
    return replace(report, failed=failed)


def analyse_exemplars(detector: Detector, store: Store, generation: int) -> Analysis:
    """Which experts fire for the check exemplars of a generation.

    Raises:
        DataError: it keeps none.
    """
    old = old_domains(store, generation)
    sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars}
    if not any(len(item) for item in sets.values()):
        raise DataError(_NOTHING.format("the experts keep no exemplars"))
    return analyse_features(detector, concatenate(list(sets.values())))


def analyse_data(detector: Detector, table: Table, ablate: bool, run: Run) -> Analysis:
    """What the experts do for each attack of a table; with `ablate`, what becomes of it without each of them.

    Raises:
        DataError: none of its recordings can be used.
    """
    if not len(table):
        raise DataError(_NOTHING.format("the data names none"))
    found = analyse_table(detector, table, run, ablate=ablate)
    if not found.attacks:
        raise DataError(_NOTHING.format("none of the recordings can be used"))
    return found


def measure_novelty(
    store: Store,
    build: Callable[..., Detector],
    inputs: Sequence[Path | str] | Path | str | Table,
    known: Data | None,
    run: Run,
) -> Novelty:
    """See `Registry.novelty`."""
    record, table = store.generation(), recordings(inputs)
    detector = build(record.number, run=run)
    if known is not None:
        found = novelty(detector, table, known_of_table(detector, table_of(known), run), run)
        return replace(found, generation=record.number)
    kept = [item.exemplars for item in old_domains(store, record.number).values() if item.exemplars]
    sets = [part for item in kept for part in (item.replay, item.check) if len(part)]
    if not sets:
        raise DataError(
            "the experts keep no exemplars to compare with; give labelled recordings of known domains by --known DATA"
        )
    features = concatenate(sets)
    # Exemplars are cut short: what is compared with them is heard no longer.
    longest = max(len(clip) for clip in features.clips)
    found = novelty(detector, table, known_of_features(detector, features), run, longest=longest)
    return replace(found, generation=record.number)
