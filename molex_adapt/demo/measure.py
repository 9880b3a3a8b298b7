"""Measure every domain before and after: test recordings are decoded once, and scored once by each mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis import Corpus, conclude, observe_features
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.data import Failed, Table, Utterance
from molex_adapt.demo.domains import DemoData
from molex_adapt.detector import Detector
from molex_adapt.features import Features, extract, logits_of
from molex_adapt.registry import GenerationRecord
from molex_adapt.reports import Analysis, Comparison
from molex_adapt.run import Run
from molex_adapt.train.acceptance import DomainScores, compare, compare_refused, rates

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """The test recordings of all domains and voices, those that domains share once.

    `items` could be read, in the order of `features`, which are of the frozen prefix that no expert changes.
    """

    items: tuple[Utterance, ...]
    features: Features
    failed: tuple[Failed, ...]

    @classmethod
    def of(cls, detector: Detector, data: DemoData, run: Run) -> Tested:
        """Decode and extract; any mixture on the same base can score the result."""
        tables = [*data.known_voices.values(), *data.held_out_voice.values()]
        table = Table(tuple(dict.fromkeys(item for found in tables for item in found)), "test")
        features, failed = extract(detector, table, run=run)
        lost = {item.path for item in failed}
        return cls(tuple(item for item in table if str(item.path) not in lost), features, failed)

    def scores(self, detector: Detector) -> Scores:
        """(N,) calibrated scores of all, nats."""
        return np.asarray(detector.calibration.apply(logits_of(detector, self.features).double().numpy()))

    def scores_and_analysis(
        self, detector: Detector, record: GenerationRecord, seed: int
    ) -> tuple[Scores, Analysis]:
        """The same and what the experts do, from one pass; no expert is switched off, which takes minutes.

        Args:
            detector: that of `record`.
            record: the generation, whose number and threshold the analysis shows.
            seed: of the tests.
        """
        observed = observe_features(detector, self.features)
        corpus = Corpus.of_features(self.features)
        found = conclude(observed, corpus, detector.mixture.names, seed=seed)
        return observed.scores, replace(found, generation=record.number, threshold=record.threshold)

    def compare(
        self,
        tables: Mapping[str, Table],
        before: Scores,
        after: Scores,
        novel: str,
        threshold: float,
        tolerance: float,
    ) -> Comparison:
        """Domain by domain, the novel one first and the control last.

        `threshold` is the frozen one, in nats; an EER may rise by `tolerance`.
        """
        names = [novel, *(name for name in tables if name not in (novel, NULL_DOMAIN)), NULL_DOMAIN]
        order = [name for name in names if name in tables]
        old, new = (
            {name: self._scored(tables[name], scores) for name in order} for scores in (before, after)
        )
        return Comparison(
            before=rates(old),
            after=rates(new),
            change=compare(old, new, threshold),
            novel=novel,
            tolerance=tolerance,
            real_speech=compare_refused(old, new, threshold),
        )

    def _scored(self, table: Table, scores: Scores) -> DomainScores:
        score_of = {item.path: score for item, score in zip(self.items, scores, strict=True)}
        items = [item for item in table if item.path in score_of]
        return DomainScores(
            np.array([score_of[item.path] for item in items]),
            np.array([item.label == BONA_FIDE for item in items]),
            tuple(item.source for item in items),
        )
