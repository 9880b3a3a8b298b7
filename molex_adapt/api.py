"""The public face: a registry that scores, learns and explains. The command line does nothing but call this.

Example::

    registry = Registry.open("registry")
    report = registry.add_expert("codec_x/", domain="codec_x")
    print(report.after["codec_x"].eer, registry.score(["suspect.wav"]).scores[0].score)
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from molex_adapt.analyze import analyse
from molex_adapt.base import load_base
from molex_adapt.conventions import BONA_FIDE, NAME_PATTERN, SPLITS, Split
from molex_adapt.data import Failed, Table, Utterance, find_audio, read
from molex_adapt.data.splits import assign_splits
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, RecipeError, RegistryError
from molex_adapt.evaluation import ATTACK_COLUMN, CODEC_COLUMNS, evaluate_scores
from molex_adapt.features import Features, extract, score_table
from molex_adapt.progress import Progress, Silent
from molex_adapt.recipe import Recipe, dump, validate, with_structure_of
from molex_adapt.registry import BaseRecord, DataRecord, ExpertRecord, GenerationDraft, NewExpert, Store
from molex_adapt.registry.assemble import build_detector, expert_arrays, head_arrays, open_base, router_arrays
from molex_adapt.registry.exemplars import arrays_to_features, features_to_arrays
from molex_adapt.registry.files import parse_yaml
from molex_adapt.reports import Analysis, EvaluationReport, Scored, ScoreReport, StageReport
from molex_adapt.scorefile import Joined
from molex_adapt.shipped import registry_path
from molex_adapt.train.adapt import Adapted, OldDomain, add_expert, retrain_routers, train_first
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.prepare import DomainData, prepare

EMBEDDED = "embedded"
"""What `init` calls the small base that comes with the package."""

Data = Table | Path | str


class Registry:
    """A registry folder and what can be done with it.

    Attributes:
        store: the files: list, show, history, verify, rollback, remove.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def create(cls, path: Path | str, base: str, revision: str | None = None) -> Registry:
        """A new registry without experts.

        Args:
            path: a new or empty folder.
            base: a Hub model id, a local folder (copied into the registry), or "embedded".
            revision: of a Hub model; the resolved commit is recorded.

        Raises:
            RegistryError: the base cannot be loaded, or the folder is in use.
        """
        folder = registry_path() / "base" if base == EMBEDDED else Path(base)
        loaded = load_base(folder if folder.is_dir() else base, revision)
        local = folder.is_dir()
        name = EMBEDDED if base == EMBEDDED else loaded.identity.id
        record = BaseRecord(
            id=name, revision=loaded.identity.revision, sha256=loaded.identity.sha256, embedded=local
        )
        return cls(Store.create(path, record, folder if local else None))

    @classmethod
    def open(cls, path: Path | str = "registry") -> Registry:
        """An existing registry.

        Raises:
            RegistryError: none there, damaged, or of another format.
        """
        return cls(Store.open(path))

    def detector(self, device: str = "auto", generation: int | None = None) -> Detector:
        """The detector of the active (or another) generation.

        Raises:
            RegistryError: there is none yet, or a file of it is damaged.
        """
        return build_detector(self.store, generation, choose_device(device))

    def score(
        self,
        inputs: Sequence[Path | str] | Table,
        *,
        device: str = "auto",
        workers: int = 2,
        progress: Progress | None = None,
    ) -> ScoreReport:
        """Score files, and folders of files, of any length and format.

        Args:
            inputs: paths, or a table; folders are searched.
            device, workers, progress: where, with how many decoding threads, and who listens.

        Returns:
            Log-likelihood ratios in nats, higher is more bona fide; what cannot be scored is in `failed`.

        Raises:
            DataError: nothing to score.
        """
        started = time.monotonic()
        table = inputs if isinstance(inputs, Table) else _recordings(inputs)
        detector = self.detector(device)
        scored, failed = score_table(detector, table, workers=workers, progress=progress)
        record = self.store.generation()
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
        device: str = "auto",
        workers: int = 2,
        progress: Progress | None = None,
    ) -> EvaluationReport:
        """Score labelled data and measure, overall, per attack and per codec.

        Args:
            data: a folder, manifest, protocol or table with both classes.
            split: only this split of it, divided as training divides where the data does not say.
            recipe: decides how the data is divided; the active generation's by default.
            device, workers, progress: as for `score`.

        Raises:
            DataError: a class is missing, or nothing can be scored.
        """
        table = data if isinstance(data, Table) else read(data)
        options = self.recipe(recipe).data
        if split is not None:
            table = assign_splits(
                table, seed=options.split_seed, fractions=options.fractions, by=options.split_by
            ).select(split=split)
        table.require_both_classes("evaluation")
        scored, failed = score_table(self.detector(device), table, workers=workers, progress=progress)
        items = [item.utterance for item in scored]
        table.with_utterances(tuple(items)).require_both_classes(
            "evaluation, after unusable recordings were left out"
        )
        joined = Joined(
            tuple(str(item.path) for item in items),
            np.array([item.score for item in scored]),
            np.array([item.label == BONA_FIDE for item in items]),
            {
                ATTACK_COLUMN: tuple(item.attack or "" for item in items),
                CODEC_COLUMNS[0]: tuple(item.codec or "" for item in items),
            },
        )
        report = evaluate_scores(joined, sources=[item.source for item in items])
        return replace(report, failed=failed, generation=self.store.generation().number)

    def analyze(
        self,
        data: Data | None = None,
        *,
        device: str = "auto",
        workers: int = 2,
        progress: Progress | None = None,
    ) -> Analysis:
        """Which experts fire for which attack.

        Args:
            data: labelled recordings; without it, the experts' own check exemplars.
            device, workers, progress: as for `score`.

        Raises:
            DataError: nothing to look at.
        """
        detector = self.detector(device)
        failed: tuple[Failed, ...] = ()
        if data is None:
            sets = {key: item.exemplars.check for key, item in self._old_domains().items() if item.exemplars}
        else:
            table = data if isinstance(data, Table) else read(data)
            features, failed = extract(detector, table, workers=workers, progress=progress)
            sets = {"data": features}
        if not any(len(item) for item in sets.values()):
            raise DataError(
                "no utterances to analyse: the experts keep no exemplars; give a folder of recordings"
            )
        analysis = analyse(detector, sets)
        return replace(analysis, generation=self.store.generation().number, failed=failed)

    def train(
        self,
        data: Data,
        *,
        domain: str,
        experts: int | None = 1,
        recipe: Recipe | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int = 2,
        licence: str = "other",
        command: str = "",
        progress: Progress | None = None,
    ) -> StageReport:
        """Train the first mixture of an empty registry: experts, routers and head together.

        Args:
            data: a folder, manifest, protocol or table.
            domain: what the experts are for; they are named after it.
            experts: how many share the domain among themselves; None for one per attack in the data, each named
                after its attack and led to it.
            recipe, seed: decide the result, with the data.
            device, workers, progress: as for `score`.
            licence: of the experts, for their cards.
            command: what the user typed, for the history.

        Raises:
            RegistryError: there is a mixture already.
            DataError: the data cannot be used.
        """
        if self.store.active is not None:
            raise RegistryError(
                f"registry {self.store.path} has a mixture already (generation {self.store.active.number}); add to it "
                "with molex-adapt add-expert, or start another with molex-adapt init BASE --registry OTHER"
            )
        recipe, progress = recipe or Recipe(), progress or Silent()
        _check_name(domain, "domain")
        detector = Detector(open_base(self.store), recipe).to(choose_device(device))
        if experts is None:
            table = data if isinstance(data, Table) else read(data)
            names = [_check_name(attack, "attack") for attack in table.attacks]
            whole = prepare(detector, table, recipe, workers, progress)
            domains = {name: whole.of_attack(name) for name in names}
            result = train_first(detector, domains, recipe, seed, progress)
            owners = {name: (name, domains[name]) for name in names}
        else:
            names = [domain] if experts == 1 else [f"{domain}-{number + 1}" for number in range(experts)]
            whole = prepare(detector, data, recipe, workers, progress)
            result = train_first(
                detector, {domain: whole}, recipe, seed, progress, names if experts > 1 else ()
            )
            owners = dict.fromkeys(names, (domain, whole))
        return self._finish(detector, result, owners, recipe, seed, licence, command, whole)

    def add_expert(
        self,
        data: Data,
        *,
        domain: str,
        name: str | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int = 2,
        licence: str = "other",
        command: str = "",
        progress: Progress | None = None,
    ) -> StageReport:
        """Add one expert for a new domain; every old one stays bit-identical. Empty registries get a head as well.

        Args:
            data: a folder, manifest, protocol or table of the new domain.
            domain: what the expert is for.
            name: of the expert; the domain's by default.
            recipe: training options; the structure is that of the active generation.
            seed, device, workers, licence, command, progress: as for `train`.

        Returns:
            Figures before and after on the new and on every old domain. With `activated` false the new generation was
            written but the old one is still in force, and `refused` says why.

        Raises:
            RegistryError: the name is taken, or another writer was first.
            DataError: the data cannot be used.
        """
        name = _check_name(name or domain, "expert")
        _check_name(domain, "domain")
        if name in self.store.taken_names():
            raise RegistryError(
                f"an expert named {name!r} is already in registry {self.store.path}; choose another by --name, "
                f"or remove it first: molex-adapt remove {name} --purge"
            )
        if self.store.active is None:
            return self.train(
                data, domain=domain, recipe=recipe, seed=seed, device=device, workers=workers, licence=licence,
                command=command, progress=progress,
            )  # fmt: skip
        progress = progress or Silent()
        merged = self.recipe(recipe)
        detector = self.detector(device)
        prepared = prepare(detector, data, merged, workers, progress)
        threshold = self.store.generation().threshold
        result = add_expert(
            detector, name, domain, prepared, self._old_domains(), threshold, merged, seed, progress
        )
        return self._finish(
            detector, result, {name: (domain, prepared)}, merged, seed, licence, command, prepared
        )

    def retrain_router(
        self,
        data: Sequence[Data] = (),
        *,
        recipe: Recipe | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int = 2,
        command: str = "",
        progress: Progress | None = None,
    ) -> StageReport:
        """Router stage alone, on the experts' exemplars and further data.

        Args:
            data: folders, manifests or tables; an attack named like an expert's domain is led to that expert.
            recipe, seed, device, workers, command, progress: as for `add_expert`.
        """
        progress = progress or Silent()
        merged = self.recipe(recipe)
        detector = self.detector(device)
        domains: dict[str, DomainData] = {}
        for item in data:
            whole = prepare(detector, item, merged, workers, progress)
            domains |= {f"{attack}": whole.of_attack(attack) for attack in whole.table.attacks}
        threshold = self.store.generation().threshold
        result = retrain_routers(detector, domains, self._old_domains(), threshold, merged, seed, progress)
        return self._finish(detector, result, {}, merged, seed, "other", command, None)

    def recipe(self, given: Recipe | None = None) -> Recipe:
        """The given recipe on the active generation's structure; the generation's own where none is given.

        Raises:
            RecipeError: the given recipe asks for another structure.
        """
        text = self.store.recipe() if self.store.active is not None else None
        if text is None:
            return given or Recipe()
        active = validate(
            Recipe, parse_yaml(text.encode(), Path("recipe.yaml")), "the active generation's recipe"
        )
        return active if given is None else with_structure_of(active, given)

    def _old_domains(self) -> dict[str, OldDomain]:
        found: dict[str, OldDomain] = {}
        for record in self.store.experts():
            arrays = self.store.exemplar_tensors(record.name)
            exemplars = None
            if arrays is not None:
                replay = arrays_to_features(arrays, "replay", record.data.attacks)
                check = arrays_to_features(arrays, "check", record.data.attacks)
                exemplars = Exemplars(replay, check) if replay is not None and check is not None else None
            key = record.domain if record.domain not in found else f"{record.domain} ({record.name})"
            found[key] = OldDomain(record.name, exemplars)
        return found

    def _finish(
        self,
        detector: Detector,
        result: Adapted,
        owners: Mapping[str, tuple[str, DomainData]],
        recipe: Recipe,
        seed: int,
        licence: str,
        command: str,
        data: DomainData | None,
    ) -> StageReport:
        """Write the new generation, active unless the gate refused it."""
        active = self.store.active
        failed = data.failed if data is not None else ()
        remarks = [*(data.remarks if data is not None else ()), *result.remarks]
        draft = GenerationDraft(
            parent=active.number if active is not None else None,
            experts=detector.mixture.names,
            router=router_arrays(detector),
            head=head_arrays(detector),
            recipe=dump(recipe),
            calibration=(detector.calibration.scale, detector.calibration.offset),
            threshold=result.threshold,
            new_experts=[
                self._new_expert(detector, name, domain, item, result, recipe, seed, licence)
                for name, (domain, item) in owners.items()
            ],
            command=command,
            metrics={domain: rates.as_dict() for domain, rates in result.after.items()},
            profile=analyse(detector, _profile_sets(result, self._old_domains() if active else {})).usage,
            remarks=[*remarks, *result.refused],
        )
        number = self.store.add_generation(draft, activate=not result.refused)
        return StageReport(
            expert=result.experts[0] if len(result.experts) == 1 else result.experts,
            generation=number,
            activated=not result.refused,
            before=result.before,
            after=result.after,
            change=result.changes,
            seconds=result.seconds,
            failed=failed,
            remarks=remarks,
            refused=result.refused,
            not_measured=result.not_measured,
            training={stage: asdict(fitted) for stage, fitted in result.stages.items()},
        )

    def _new_expert(
        self,
        detector: Detector,
        name: str,
        domain: str,
        data: DomainData,
        result: Adapted,
        recipe: Recipe,
        seed: int,
        licence: str,
    ) -> NewExpert:
        spec = detector.mixture.specs[detector.mixture.index(name)]
        attacks = data.table.attacks
        exemplars = result.exemplars[name]
        rates = result.after.get(domain)
        record = ExpertRecord(
            name=name,
            domain=domain,
            rank=spec.rank,
            alpha=spec.alpha,
            targets=list(recipe.lora.targets),
            blocks=len(detector.base.blocks),
            base=self.store.base,
            data=DataRecord(
                digest=data.table.digest(),
                counts={split: data.table.select(split=split).counts() for split in SPLITS},
                attacks=attacks,
                split_by=recipe.data.split_by,
            ),
            recipe=dump(recipe),
            seed=seed,
            metrics={domain: rates.as_dict()} if rates is not None else {},
            licence=licence,
        )
        kept = {
            **features_to_arrays(exemplars.replay, "replay", attacks),
            **features_to_arrays(exemplars.check, "check", attacks),
        }
        keeps = recipe.exemplars.replay + recipe.exemplars.check > 0
        return NewExpert(record, expert_arrays(detector, name), kept if keeps else None)


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        RecipeError: the device does not exist here.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind = name.partition(":")[0]
    if not {"cpu": True, "cuda": cuda, "mps": mps}.get(kind, False):
        raise RecipeError(f"device {name!r} is not available here; use --device auto, or cpu")
    return torch.device(name)


def _profile_sets(result: Adapted, old: Mapping[str, OldDomain]) -> dict[str, Features]:
    sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars is not None}
    return sets | {name: item.check for name, item in result.exemplars.items()}


def _recordings(inputs: Sequence[Path | str]) -> Table:
    paths: list[Path] = []
    for item in map(Path, inputs):
        paths += find_audio(item) if item.is_dir() else [item]
    if not paths:
        named = ", ".join(str(item) for item in inputs) or "nothing was named"
        raise DataError(f"no recordings to score ({named}); name audio files, or folders that hold some")
    return Table(tuple(Utterance(path, BONA_FIDE, source=str(path)) for path in paths), "the command line")


def _check_name(name: str, what: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise DataError(
            f"{what} name {name!r} cannot be used; names have 1 to 64 of a-z 0-9 _ . - and start with a letter or digit"
        )
    return name
