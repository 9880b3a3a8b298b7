"""A registry folder and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from molex_adapt.analyze import analyse
from molex_adapt.api.exchange import Exchange
from molex_adapt.api.inputs import Data, recordings, table_of
from molex_adapt.api.learning import Learning, recipe_on
from molex_adapt.api.outcome import old_domains
from molex_adapt.base import load_base
from molex_adapt.conventions import BONA_FIDE, Split
from molex_adapt.data import Failed, Table, assign_splits
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.evaluation import ATTACK_COLUMN, CODEC_COLUMNS, evaluate_scores
from molex_adapt.features import extract, score_kept, score_table
from molex_adapt.metrics import Ties
from molex_adapt.recipe import Recipe
from molex_adapt.registry import BaseRecord, Store
from molex_adapt.registry.assemble import build_detector, embeddable
from molex_adapt.reports import Analysis, EvaluationReport, Scored, ScoreReport, StageReport
from molex_adapt.run import Run
from molex_adapt.scorefile import Joined
from molex_adapt.shipped import registry_path

EMBEDDED = "embedded"
"""What `init` calls the small base that comes with the package."""


class Registry(Exchange):
    """A registry folder and what can be done with it.

    Attributes:
        store: the files: list, show, history, forgetting, verify, rollback, remove.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def create(
        cls, path: Path | str, base: str, revision: str | None = None, *, experts: bool = True
    ) -> Registry:
        """A new registry.

        Args:
            path: a new or empty folder.
            base: a Hub model id, a local folder (copied into the registry), or "embedded".
            revision: of a Hub model; the resolved commit is recorded.
            experts: start with the shipped experts, which only the embedded base has.

        Raises:
            RegistryError: the base cannot be loaded, or the folder is in use.
        """
        if base == EMBEDDED and experts:
            return cls(Store.copy(registry_path(), path))
        folder = registry_path() / "base" if base == EMBEDDED else Path(base)
        loaded = load_base(folder if folder.is_dir() else base, revision)
        local = folder.is_dir()
        name = EMBEDDED if base == EMBEDDED else loaded.identity.id
        record = BaseRecord(
            id=name, revision=loaded.identity.revision, sha256=loaded.identity.sha256, embedded=local
        )
        if not local:
            return cls(Store.create(path, record))
        with embeddable(folder, loaded) as source:
            return cls(Store.create(path, record, source))

    @classmethod
    def open(cls, path: Path | str = "registry") -> Registry:
        """An existing registry.

        Raises:
            RegistryError: none there, damaged, or of another format.
        """
        return cls(Store.open(path))

    def detector(self, generation: int | None = None, *, run: Run = Run()) -> Detector:
        """The detector of the active (or another) generation.

        Args:
            generation: number; None for the active one.
            run: device and precision.

        Raises:
            RegistryError: there is none yet, or a file of it is damaged.
        """
        return build_detector(self.store, generation, run.find_device(), precision=run.precision)

    def score(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        keep: bool = False,
        run: Run = Run(),
    ) -> ScoreReport:
        """Score files, and folders of files, of any length and format.

        Args:
            inputs: paths, or a table; folders are searched.
            keep: score by way of the feature cache, for recordings that will be scored again; see
                `features.score_kept` for the small differences.
            run: device, precision, decoding threads, cache, listener.

        Returns:
            Log-likelihood ratios in nats, higher is more bona fide; what cannot be scored is in `failed`.

        Raises:
            DataError: nothing to score.
        """
        started = time.monotonic()
        record = self.store.generation()
        table = inputs if isinstance(inputs, Table) else recordings(inputs)
        detector = self.detector(record.number, run=run)
        score = score_kept if keep else score_table
        scored, failed = score(detector, table, run)
        return ScoreReport(
            tuple(Scored(str(item.utterance.path), item.score, item.seconds) for item in scored),
            failed,
            record.number,
            record.threshold,
            time.monotonic() - started,
        )

    def evaluate(
        self,
        data: Data,
        *,
        split: Split | None = None,
        recipe: Recipe | None = None,
        ties: Ties = "asvspoof5",
        run: Run = Run(),
    ) -> EvaluationReport:
        """Score labelled data and measure, overall, per attack and per codec.

        Args:
            data: a folder, manifest, protocol or table with both classes.
            split: only this split of it, divided as training divides where the data does not say.
            recipe: decides how the data is divided; the active generation's by default.
            ties: what becomes of equal scores, see `metrics.Ties`; the default gives the ASVspoof 5 package's figures.
            run: as for `score`.

        Raises:
            DataError: a class is missing, or nothing can be scored.
        """
        number = self.store.generation().number
        table = table_of(data)
        options = self.recipe(recipe).data
        if split is not None:
            table = assign_splits(
                table, seed=options.split_seed, fractions=options.fractions, by=options.split_by
            ).select(split=split)
        table.require_both_classes("evaluation")
        scored, failed = score_table(self.detector(number, run=run), table, run)
        items = [item.utterance for item in scored]
        table.with_utterances(tuple(items)).require_usable("evaluation", table, failed)
        joined = Joined(
            tuple(str(item.path) for item in items),
            np.array([item.score for item in scored]),
            np.array([item.label == BONA_FIDE for item in items]),
            {
                ATTACK_COLUMN: tuple(item.attack or "" for item in items),
                CODEC_COLUMNS[0]: tuple(item.codec or "" for item in items),
            },
        )
        report = evaluate_scores(joined, sources=[item.source for item in items], ties=ties)
        return replace(report, failed=failed, generation=number)

    def analyze(
        self,
        data: Data | None = None,
        *,
        run: Run = Run(),
    ) -> Analysis:
        """Which experts fire for which attack.

        Args:
            data: labelled recordings; without it, the experts' own check exemplars.
            run: as for `score`.

        Raises:
            DataError: nothing to look at.
        """
        number = self.store.generation().number
        detector = self.detector(number, run=run)
        failed: tuple[Failed, ...] = ()
        if data is None:
            old = old_domains(self.store, number)
            sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars}
        else:
            features, failed = extract(detector, table_of(data), run)
            sets = {"data": features}
        if not any(len(item) for item in sets.values()):
            raise DataError(
                "no utterances to analyse: "
                + ("the experts keep no exemplars" if data is None else "none of the recordings can be used")
                + "; give a folder of recordings"
            )
        analysis = analyse(detector, sets)
        return replace(analysis, generation=number, failed=failed)

    def train(
        self,
        data: Data,
        *,
        domain: str,
        experts: int | None = 1,
        recipe: Recipe | None = None,
        licence: str = "other",
        run: Run = Run(),
    ) -> StageReport:
        """Train the first mixture of an empty registry: experts, routers and head together.

        Args:
            data: a folder, manifest, protocol or table.
            domain: what the experts are for; they are named after it.
            experts: how many share the domain among themselves; None for one per attack in the data, each named
                after its attack and led to it.
            recipe: decides the result, with the data and the run's seed, device and precision.
            licence: of the experts, for their cards.
            run: all of it counts. What is resumed ends as a run that never stopped.

        Raises:
            RegistryError: there is a mixture already; or the only checkpoints there are those of another run.
            DataError: the data cannot be used.
        """
        return Learning(self.store, recipe, licence, run).train(data, domain, experts)

    def add_expert(
        self,
        data: Data,
        *,
        domain: str,
        name: str | None = None,
        recipe: Recipe | None = None,
        licence: str = "other",
        run: Run = Run(),
    ) -> StageReport:
        """Add one expert for a new domain; every old one stays bit-identical. Empty registries get a head as well.

        Args:
            data: a folder, manifest, protocol or table of the new domain.
            domain: what the expert is for.
            name: of the expert; the domain's by default.
            recipe: training options; the structure is that of the active generation.
            licence, run: as for `train`.

        Returns:
            Figures before and after on the new and on every old domain. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            RegistryError: the name is taken, or another writer was first.
            DataError: the data cannot be used.
        """
        return Learning(self.store, recipe, licence, run).add_expert(data, domain, name or domain)

    def retrain_router(
        self,
        data: Sequence[Data] | Data = (),
        *,
        recipe: Recipe | None = None,
        run: Run = Run(),
    ) -> StageReport:
        """Router stage alone, on the experts' exemplars and further data.

        Args:
            data: folders, manifests or tables; an attack named like an expert's domain is led to that expert.
            recipe, run: as for `add_expert`.
        """
        several = [data] if isinstance(data, Table | Path | str) else data
        return Learning(self.store, recipe, "other", run).retrain_router(several)

    def recipe(self, given: Recipe | None = None) -> Recipe:
        """The given recipe on the active generation's structure; the generation's own where none is given.

        Raises:
            RecipeError: the given recipe asks for another structure.
        """
        return recipe_on(self.store, self.store.active, given)
