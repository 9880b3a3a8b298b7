"""A registry folder and what can be done with it.

Every method imports what it needs: torch comes with the first one that needs a model, and to open a registry, to read
it and to tend it costs no more than `molex-adapt list` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR, DecisionRule
from molex_adapt.errors import DataError, RegistryError
from molex_adapt.registry import BaseRecord, Store
from molex_adapt.run import Run
from molex_adapt.shipped import registry_path

if TYPE_CHECKING:
    from molex_adapt.api.inputs import Data
    from molex_adapt.conventions import Split
    from molex_adapt.data import Table
    from molex_adapt.detector import Detector
    from molex_adapt.findings import Handovers, Novelty, Timeline
    from molex_adapt.hub import Hub
    from molex_adapt.metrics import Ties
    from molex_adapt.recipe import Recipe
    from molex_adapt.registry.reproduction import Reproduction
    from molex_adapt.reports import (
        Analysis,
        EvaluationReport,
        PullReport,
        ScoreReport,
        StageReport,
        ThresholdReport,
    )

EMBEDDED = "embedded"
"""What `init` calls the small base that comes with the package."""


class Registry:
    """A registry folder and what can be done with it.

    Attributes:
        store: its files: list, show, history, forgetting, verify, rollback, remove.
        hub: the Hugging Face Hub: push, outdated.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def hub(self) -> Hub:
        """The part that speaks to the Hub."""
        from molex_adapt.hub import Hub

        return Hub(self.store)

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
        from molex_adapt.base import load_base
        from molex_adapt.registry.assemble import embeddable
        from molex_adapt.registry.create import require_free

        require_free(Path(path))  # before a base is downloaded
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

    @classmethod
    def pull_mixture(
        cls,
        reference: str,
        path: Path | str,
        *,
        token: str | None = None,
        skip_pickled: bool = False,
        run: Run = Run(),
    ) -> Registry:
        """A new registry with a whole generation from the Hub.

        Args:
            reference: ORG/REPO or ORG/REPO@REV.
            path: a new or empty folder.
            token, skip_pickled, run: as for `pull`; it is put together once, to see that it works.

        Raises:
            HubError: it cannot be had, or is not to be trusted.
            RegistryError: the folder is in use.
        """
        from molex_adapt.api.restoring import restore
        from molex_adapt.hub import fetch_mixture
        from molex_adapt.registry.create import require_free

        require_free(Path(path))  # before anything is downloaded
        fetched = fetch_mixture(reference, token=token, skip_pickled=skip_pickled, progress=run.progress)
        restore(fetched, Path(path), run)
        return cls(Store.open(path))

    def recipe(self, given: Recipe | None = None) -> Recipe:
        """The given recipe on the active generation's structure; the generation's own where none is given.

        Raises:
            RecipeError: the given recipe asks for another structure.
        """
        from molex_adapt.api.inputs import recipe_on

        return recipe_on(self.store, self.store.active, given)

    def reproduce(self, name: str, recipe: Path | None = None) -> Reproduction:
        """What to run so that an expert of the active generation is made again, bit for bit.

        `recipe` is a file that holds the expert's recipe; without it, that of the generation it came with.

        Raises:
            ExpertError: there is no such expert.
            RegistryError: the generation it came with is damaged.
        """
        from molex_adapt.registry.reproduction import reproduce

        return reproduce(self.store, name, recipe)

    def detector(self, generation: int | None = None, *, run: Run = Run()) -> Detector:
        """The detector of a generation, None for the active one, on the device and in the precision of the run.

        Raises:
            RegistryError: there is none yet, or a file of it is damaged.
        """
        from molex_adapt.registry.assemble import build_detector

        return build_detector(self.store, generation, run.find_device(), precision=run.precision)

    def score(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        prior: float = EVEN_PRIOR,
        error: float | None = MOST_ERROR,
        journal: Path | None = None,
        run: Run = Run(),
    ) -> ScoreReport:
        """Score files, and folders of files, of any length and format.

        Args:
            inputs: paths, or a table; folders are searched.
            prior: probability of bona fide speech before listening; the reported probabilities rest on it.
            error: nothing is decided where a decision would be wrong with more than this probability, nor outside
                what the detector learnt from; None decides in every case. See `decision`.
            journal: a file that keeps every score as soon as it is there, for `run.resume`; the caller deletes it.
            run: device, precision, decoding threads, cache, listener, resuming.

        Returns:
            Log-likelihood ratios in nats, higher is more bona fide, with what was heard in each recording and remarks
            where it lies outside what the detector learnt from. What cannot be scored is in `failed`: also silence, and
            recordings with a dead channel or channels in anti-phase.

        Raises:
            DataError: nothing to score; a prior or an error that is none; or a journal of something else.
        """
        from molex_adapt.api.inputs import recordings
        from molex_adapt.api.scoring import score

        rule = DecisionRule(self.store.generation().threshold, prior, error)
        return score(self.store, self.detector, recordings(inputs), rule, journal, run)

    def evaluate(
        self,
        data: Data,
        *,
        split: Split | None = None,
        recipe: Recipe | None = None,
        ties: Ties = "asvspoof5",
        run: Run = Run(),
    ) -> EvaluationReport:
        """Score labelled data and measure: overall, per attack, per condition, and per attack in each condition.

        Args:
            data: a folder, manifest, protocol or table with both classes.
            split: only this split of it, divided as training divides where the data does not say.
            recipe: decides how the data is divided; the active generation's by default.
            ties: what becomes of equal scores, see `metrics.Ties`; the default gives the ASVspoof 5 package's figures.
            run: as for `score`.

        Raises:
            DataError: a class is missing, or nothing can be scored.
        """
        from molex_adapt.api.inputs import table_of
        from molex_adapt.api.measuring import evaluate
        from molex_adapt.data import assign_splits

        record = self.store.generation()
        table = table_of(data)
        if split is not None:
            options = self.recipe(recipe).data
            table = assign_splits(
                table, seed=options.split_seed, fractions=options.fractions, by=options.split_by
            ).select(split=split)
        table.require_both_classes("evaluation")
        report = evaluate(self.detector(record.number, run=run), table, self.store, record, ties, run)
        return replace(report, generation=record.number)

    def analyze(self, data: Data | None = None, *, ablate: bool = False, run: Run = Run()) -> Analysis:
        """Which experts act for which attack, of labelled recordings or else of the experts' own check exemplars.

        Those were analysed when the generation was made, and are not computed anew; but for a generation that was
        written before its record kept them by block.

        Args:
            data: a folder, manifest, protocol or table.
            ablate: switch every expert off as well, on a sample of the data; verdicts on attacks need it.
            run: as for `score`.

        Raises:
            DataError: nothing to look at.
        """
        record = self.store.generation()
        if data is None:
            from molex_adapt.api.profile import stored_analysis

            kept = stored_analysis(record)
            if kept is not None:
                return kept
        from molex_adapt.analysis.shards import take_card
        from molex_adapt.api.inputs import table_of
        from molex_adapt.api.measuring import analyse_data, analyse_exemplars

        take_card()
        detector = self.detector(record.number, run=run)
        if data is None:
            found = analyse_exemplars(detector, self.store, record.number)
        else:
            found = analyse_data(detector, table_of(data), ablate, run)
        return replace(found, generation=record.number, threshold=record.threshold)

    def novelty(
        self,
        inputs: Sequence[Path | str] | Path | str | Table,
        *,
        known: Data | None = None,
        run: Run = Run(),
    ) -> Novelty:
        """How much of recordings without labels is unlike anything known; a label that is there is not read.

        Args:
            inputs: paths, or a table; folders are searched.
            known: labelled recordings of known domains; without them, the experts' exemplars.
            run: as for `score`.

        Raises:
            DataError: nothing can be used, or too little is known.
            ExpertError: the mixture has no experts.
        """
        from molex_adapt.api.measuring import measure_novelty

        return measure_novelty(self.store, self.detector, inputs, known, run)

    def compare(self, other: int, data: Data | None = None, *, run: Run = Run()) -> Handovers:
        """The active generation beside another: what the newer one's experts took over from those of the older one.

        Args:
            other: number of a generation.
            data: labelled recordings that both score; without it, the profiles that their records keep.
            run: as for `score`.

        Raises:
            RegistryError: there is no such generation.
            DataError: it is the active one itself, or there is nothing to compare.
        """
        from molex_adapt.api.comparing import compare_on, compare_records

        records = sorted(
            (self.store.generation(), self.store.generation(other)), key=lambda item: item.number
        )
        if records[0].number == records[1].number:
            raise DataError(
                f"generation {other} is the active one; name another to compare it with (molex-adapt history)"
            )
        if data is None:
            return compare_records(*records)
        from molex_adapt.api.inputs import table_of

        return compare_on(self.store, records[0], records[1], table_of(data), run)

    def timeline(self, recording: Path | str, *, run: Run = Run()) -> Timeline:
        """Score one recording window by window, and find the stretch that speaks most against it.

        Args:
            recording: an audio file of any length and format.
            run: device, precision.

        Raises:
            AudioError: it cannot be read, or is too short.
            ExpertError: the mixture has no experts.
        """
        from molex_adapt.analysis.timeline import timeline

        record = self.store.generation()
        found = timeline(self.detector(record.number, run=run), Path(recording))
        return replace(found, threshold=record.threshold, generation=record.number)

    def write_report(self, report: Analysis, out: Path | str) -> None:
        """Write an analysis as a page, figures and tables; beside it stands what the last expert changed.

        Args:
            report: of this registry.
            out: a new folder, or one that an earlier analysis was written to.

        Raises:
            DataError: the folder holds something else, or cannot be written.
            RecipeError: Altair or vl-convert is not installed.
        """
        from molex_adapt.analysis.files import write_report
        from molex_adapt.analysis.last import last_expert

        write_report(report, Path(out), last_expert(self.store.history(), report.generation))

    def train(
        self,
        data: Data,
        *,
        domain: str | None = None,
        experts: int | Sequence[str] = 1,
        recipe: Recipe | None = None,
        licence: str = "other",
        run: Run = Run(),
    ) -> StageReport:
        """Train the first mixture of an empty registry: experts, routers and head together.

        Args:
            data: a folder, manifest, protocol or table.
            domain: what the experts are for; they are named after it. None with `PER_ATTACK` alone.
            experts: how many share the data among themselves, or their names; or `PER_ATTACK` for one per attack in
                the data, whose name and domain are the attack's and which that attack is sent to in training.
            recipe: decides the result, with the data and the run's seed, device and precision.
            licence: of the experts, for their cards.
            run: all of it counts. What is resumed ends as a run that never stopped.

        Raises:
            RegistryError: there is a mixture already; or the only checkpoints there are those of another run.
            DataError: the data cannot be used.
            RecipeError: domain and number of experts do not go together.
        """
        from molex_adapt.api.inputs import expert_names
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training, by_domain
        from molex_adapt.train.adapt import train_first

        self._require_empty()
        names = expert_names(domain, experts)
        training = Training.begin(self.store, None, recipe, licence, run)
        training.require_free(names)
        whole = training.prepare(data)
        domains = {str(domain): whole} if names else by_domain(whole)
        owners = {name: (name, item) for name, item in domains.items()}
        if names:
            owners = dict.fromkeys(names, (str(domain), whole))
        training.require_free(owners)
        with training.checkpoints("train", owners) as kept:
            result = train_first(training.detector, domains, training.recipe, run, names, kept)
            return write_generation(training, result, owners)

    def add_expert(
        self,
        data: Data,
        *,
        domain: str,
        name: str | None = None,
        recipe: Recipe | None = None,
        licence: str = "other",
        accept: bool = False,
        if_needed: bool = False,
        run: Run = Run(),
    ) -> StageReport:
        """Add one expert for a new domain; every old one stays bit-identical. Empty registries get a head as well.

        Args:
            data: a folder, manifest, protocol or table of the new domain.
            domain: what the expert is for.
            name: of the expert; the domain's by default.
            recipe: training options; the structure is that of the active generation.
            accept: activate the new generation whatever was found.
            if_needed: train no expert where the readout alone solves the domain; one with closed gates stands for it.
            licence, run: as for `train`.

        Returns:
            Figures before and after on the new and on every old domain. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            RegistryError: the name is taken, or another writer was first.
            DataError: the data cannot be used.
        """
        from molex_adapt.api.inputs import check_name
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training
        from molex_adapt.train.adapt import add_expert

        name = check_name(name or check_name(domain, "domain"), "expert")
        active = self.store.active
        if active is None:
            return self.train(data, domain=domain, experts=[name], recipe=recipe, licence=licence, run=run)
        training = Training.begin(self.store, active, recipe, licence, run, domain)
        training.require_free([name])
        prepared = training.prepare(data)
        owners = {name: (domain, prepared)}
        with training.checkpoints("add-expert", owners) as kept:
            result = add_expert(
                training.detector,
                name,
                domain,
                prepared,
                training.old,
                active.threshold,
                training.recipe,
                run,
                kept,
                accept=accept,
                if_needed=if_needed,
            )
            return write_generation(training, result, owners, accept)

    def retrain_router(
        self,
        data: Sequence[Data] | Data = (),
        *,
        recipe: Recipe | None = None,
        accept: bool = False,
        run: Run = Run(),
    ) -> StageReport:
        """Router stage alone, on the experts' exemplars and further data.

        Args:
            data: folders, manifests or tables; an attack named like an expert's domain is led to that expert.
            recipe, accept, run: as for `add_expert`.
        """
        from molex_adapt.api.inputs import several
        from molex_adapt.api.outcome import write_generation
        from molex_adapt.api.training import Training, by_domain_of_all
        from molex_adapt.train.adapt import retrain_routers

        active = self.store.generation()
        training = Training.begin(self.store, active, recipe, "other", run)
        domains = by_domain_of_all([training.prepare(item) for item in several(data)])
        with training.checkpoints("retrain-router", {}) as kept:
            result = retrain_routers(
                training.detector, domains, training.old, active.threshold, training.recipe, run, kept
            )
            return write_generation(training, result, {}, accept)

    def set_threshold(
        self, data: Data, *, refused: float = 0.03, new_voices: bool = False, run: Run = Run()
    ) -> ThresholdReport:
        """Choose the threshold on real speech of the place of use; a new generation has it, and all else as before.

        Args:
            data: a data set, or any folder, which then counts as real speech throughout.
            refused: the largest share of the real recordings that the threshold may refuse, at least 0, below 0.5.
            new_voices: hold that share for voices that are not among them too: with 95 % confidence, from how its
                voices differ. Takes eight named ones.
            run: as for `score`.

        Raises:
            DataError: too few recordings can be scored to tell such a share, or too few voices are named.
        """
        from molex_adapt.api.thresholding import change_threshold
        from molex_adapt.data import Table
        from molex_adapt.simulate import speech_of

        table = data if isinstance(data, Table) else speech_of(Path(data))
        detector = self.detector(run=run)
        return change_threshold(detector, self.store, table, refused, new_voices, run)

    def pull(
        self,
        reference: str,
        *,
        name: str | None = None,
        token: str | None = None,
        skip_pickled: bool = False,
        assume_base: bool = False,
        run: Run = Run(),
    ) -> PullReport:
        """Add one expert from the Hub, working at once: one of ours, or a stock PEFT LoRA that fits.

        Args:
            reference: ORG/REPO or ORG/REPO@REV; the resolved commit is kept.
            name: of the expert here; its own by default.
            token: None for HF_TOKEN, or what `hf auth login` left.
            skip_pickled: take what is safe of a repository that holds pickled files, instead of refusing it.
            assume_base: take a stock adapter for one of this base, whatever it calls its base.
            run: where, what was typed, and who listens.

        Returns:
            Figures before and after on every domain that can be measured. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            HubError: it cannot be had, or is not to be trusted.
            ExpertError: it is of another base, or adapts other layers.
            RegistryError: its name is taken, or another writer was first.
        """
        from molex_adapt.api.arriving import Arrival
        from molex_adapt.api.inputs import check_name
        from molex_adapt.hub import find_expert

        if name is not None:
            check_name(name, "expert")
        found = find_expert(reference, token=token, skip_pickled=skip_pickled, progress=run.progress)
        return Arrival(self.store, found, name, assume_base, run).pull()

    def _require_empty(self) -> None:
        active = self.store.active
        if active is not None:
            raise RegistryError(
                f"registry {self.store.path} has a mixture already (generation {active.number}); add to it "
                "with molex-adapt add-expert, or start another with molex-adapt init BASE --registry OTHER"
            )
