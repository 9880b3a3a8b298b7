"""What a detector makes of labelled data: error rates, and what its experts do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from molex_adapt.analysis import analyse_table
from molex_adapt.analysis.unlabelled import known_of_features, known_of_table, novelty
from molex_adapt.api.inputs import Data, recordings, table_of
from molex_adapt.api.known import analyse_known, old_domains
from molex_adapt.api.trained import Trained, find_trained, pulled_in_silence
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Table, Utterance
from molex_adapt.data.manifest import CONDITION_COLUMNS
from molex_adapt.data.named import corpora_named
from molex_adapt.data.remarks import on_table
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.evaluation import ATTACK_COLUMN, evaluate_scores
from molex_adapt.features import concatenate, score_table
from molex_adapt.findings import Novelty
from molex_adapt.metrics import Ties, measure
from molex_adapt.registry import BaseRecord, GenerationRecord, Store
from molex_adapt.reports import Analysis, EvaluationReport, HeardInTraining
from molex_adapt.run import Run
from molex_adapt.scorefile import Joined
from molex_adapt.trialfile import Trials

_NOTHING = "no utterances to analyse: {}; give a folder of recordings"
_UNSAID = (
    "nothing says whether these recordings were heard in training by: {}. They were pulled without the fingerprints "
    "that tell it; these figures may flatter them"
)
_UNHEARD = (
    "no recordings are kept of {}: only the other domains are compared with; --known gives labelled ones"
)


def evaluate(
    detector: Detector,
    table: Table,
    store: Store,
    record: GenerationRecord,
    ties: Ties,
    run: Run,
    *,
    trials: Trials | None = None,
    curves: bool = False,
) -> EvaluationReport:
    """Score and measure: overall, per attack, per condition and both, and what the generation's threshold refuses.

    Where the mixture learnt from some of the recordings, that is said, with figures of those that it did not hear.
    `trials` and `curves` as in `evaluate_scores`.

    Raises:
        DataError: of a class, nothing can be scored.
    """
    scored, failed = score_table(detector, table, run)
    items = [replace(item.utterance, audio=item.audio) for item in scored]
    usable = table.with_utterances(tuple(items))
    usable.require_usable("evaluation", table, failed)
    joined = Joined(
        tuple(str(item.path) for item in items),
        np.array([item.score for item in scored]),
        np.array([item.label == BONA_FIDE for item in items]),
        {
            ATTACK_COLUMN: tuple(item.attack or "" for item in items),
            CONDITION_COLUMNS[0]: tuple(item.condition or "" for item in items),
        },
    )
    sources = [item.source for item in items]
    report = evaluate_scores(
        joined, sources=sources, ties=ties, threshold=record.threshold, trials=trials, curves=curves
    )
    report = replace(report, failed=failed, remarks=[*report.remarks, *on_table(table)])
    trained = find_trained(store, record.number, table, usable)
    named = trained.by_expert if trained is not None else {}
    unsaid = [name for name in pulled_in_silence(store, record.number) if name not in named]
    if unsaid:
        report = replace(report, remarks=[*report.remarks, _UNSAID.format(", ".join(unsaid))])
    report = report if trained is None else _told(report, trained, joined, items, ties)
    return _warned(report, store.base, table)


def _warned(report: EvaluationReport, base: BaseRecord, table: Table) -> EvaluationReport:
    """The report with a warning where a published detector learnt from a corpus that the data is called after."""
    if base.published is None:
        return report
    found = corpora_named(base.published.trained_on, table)
    lines = [
        f"{base.id} was trained on {name}, and this data is called after it: these figures are no measure of what it "
        "does on speech that it has not heard. Evaluate it on another corpus"
        for name in found
    ]
    return replace(report, remarks=[*lines, *report.remarks], trained_on=found)


def _told(
    report: EvaluationReport, trained: Trained, joined: Joined, items: list[Utterance], ties: Ties
) -> EvaluationReport:
    """The report with what was heard in training, and figures of the rest where both classes are left."""
    heard = sum(item.path in trained.heard for item in items)
    places = [at for at, item in enumerate(items) if item.path not in trained.heard | trained.chosen_on]
    real = joined.is_bona_fide[places]
    rest = None
    if real.any() and not real.all():
        scores, groups = joined.scores[places], [items[at].source for at in places]
        split = ([g for g, r in zip(groups, real, strict=True) if r == wanted] for wanted in (True, False))
        rest = measure(scores[real], scores[~real], groups=(next(split), next(split)), ties=ties)
    experts = ", ".join(f"{name} {count}" for name, count in trained.by_expert.items())
    line = f"{heard} of {len(items)} were heard in training" + (f" (expert {experts})" if experts else "")
    if rest is not None:
        low, high = rest.eer_ci
        line += f"; the {len(places)} that played no part in it have an EER of {100 * rest.eer:.2f} %"
        line += f" ({100 * low:.1f}–{100 * high:.1f})" if rest.has_interval else ""
    found = HeardInTraining(heard, dict(trained.by_expert), rest)
    return replace(report, remarks=[line, *report.remarks], heard_in_training=found)


def analyse_exemplars(detector: Detector, store: Store, generation: int) -> Analysis:
    """Which experts fire for what a generation keeps of its domains.

    Raises:
        DataError: that is nothing.
    """
    found = analyse_known(detector, old_domains(store, generation))
    if found is None:
        raise DataError(_NOTHING.format("the experts keep neither exemplars nor routing statistics"))
    return found


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
    return replace(found, remarks=[*found.remarks, *on_table(table)])


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
    old = old_domains(store, record.number)
    kept = {key: item.exemplars for key, item in old.items() if item.exemplars is not None}
    sets = [part for item in kept.values() for part in (item.replay, item.check) if len(part)]
    unheard = [key for key in old if key not in kept or not len(kept[key].replay) + len(kept[key].check)]
    if not sets:
        raise DataError(
            "the experts keep no exemplars to compare with; give labelled recordings of known domains by --known DATA"
        )
    features = concatenate(sets)
    # Exemplars are cut short: what is compared with them is heard no longer.
    longest = max(len(clip) for clip in features.clips)
    found = novelty(detector, table, known_of_features(detector, features), run, longest=longest)
    remarks = (_UNHEARD.format(", ".join(unheard)),) if unheard else ()
    return replace(found, generation=record.number, remarks=(*found.remarks, *remarks))
