"""The operations that change the mixture, from data to a written generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from molex_adapt.api.inputs import Data, by_attack, check_name
from molex_adapt.api.outcome import Origin, old_domains, write_generation
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256_of_file
from molex_adapt.errors import DataError, RecipeError, RegistryError
from molex_adapt.recipe import Recipe, validate, with_structure_of
from molex_adapt.registry import GenerationRecord, Store, layout
from molex_adapt.registry.assemble import build_detector, open_base
from molex_adapt.registry.checkpoints import RunFolder
from molex_adapt.registry.files import parse_yaml
from molex_adapt.registry.records import package_versions
from molex_adapt.reports import StageReport
from molex_adapt.run import Run
from molex_adapt.train.adapt import add_expert, retrain_routers, train_first
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData, prepare


@dataclass(frozen=True)
class Learning:
    """One run of training on a registry; see the methods of `Registry` that have the same names.

    Whatever else happens to the registry meanwhile, a run works on the generation that was active when it began, and
    the store refuses to write what did not come from the one that is active then.
    """

    store: Store
    recipe: Recipe | None
    licence: str
    run: Run

    def train(self, data: Data, domain: str, experts: int | None) -> StageReport:
        """See `Registry.train`."""
        active = self.store.active
        if active is not None:
            raise RegistryError(
                f"registry {self.store.path} has a mixture already (generation {active.number}); add to it "
                "with molex-adapt add-expert, or start another with molex-adapt init BASE --registry OTHER"
            )
        check_name(domain, "domain")
        if experts is None:
            return self._train_by_attack(data)
        if experts < 1:
            raise RecipeError(f"{experts} experts cannot be trained; ask for 1 or more, or one per attack")
        several = [f"{domain}-{number + 1}" for number in range(experts)]
        return self._train_together(data, domain, several if experts > 1 else [domain])

    def add_expert(self, data: Data, domain: str, name: str) -> StageReport:
        """See `Registry.add_expert`."""
        check_name(domain, "domain")
        check_name(name, "expert")
        active = self.store.active
        if active is None:
            return self._train_together(data, domain, [name])
        self._require_free(name)
        recipe = self._recipe(active)
        detector = build_detector(
            self.store, active.number, self.run.find_device(), precision=recipe.precision
        )
        old = _apart_from(domain, old_domains(self.store, active.number))
        prepared = prepare(detector, data, recipe, self.run)
        origin = self._origin(recipe, [prepared], active.number, old)
        with self._checkpoints("add-expert", {name: domain}, origin, [prepared]) as kept:
            result = add_expert(
                detector,
                name,
                domain,
                prepared,
                old,
                active.threshold,
                recipe,
                self.run,
                kept,
            )
            return write_generation(self.store, detector, result, {name: (domain, prepared)}, origin)

    def retrain_router(self, data: Iterable[Data]) -> StageReport:
        """See `Registry.retrain_router`."""
        active = self.store.generation()
        recipe = self._recipe(active)
        detector = build_detector(
            self.store, active.number, self.run.find_device(), precision=recipe.precision
        )
        old = old_domains(self.store, active.number)
        prepared = [prepare(detector, item, recipe, self.run) for item in data]
        domains: dict[str, DomainData] = {}
        for found in map(by_attack, prepared):
            twice = sorted(found.keys() & domains.keys())
            if twice:
                raise DataError(
                    f"attack {twice[0]!r} comes in two of the data sets; put them into one manifest"
                )
            domains |= found
        origin = self._origin(recipe, prepared, active.number, old)
        with self._checkpoints("retrain-router", {}, origin, prepared) as kept:
            result = retrain_routers(detector, domains, old, active.threshold, recipe, self.run, kept)
            return write_generation(self.store, detector, result, {}, origin)

    def _train_together(self, data: Data, domain: str, names: list[str]) -> StageReport:
        for name in names:
            self._require_free(check_name(name, "expert"))
        detector, recipe = self._empty_detector()
        whole = prepare(detector, data, recipe, self.run)
        owners = dict.fromkeys(names, (domain, whole))
        origin = self._origin(recipe, [whole])
        with self._checkpoints("train", dict.fromkeys(names, domain), origin, [whole]) as kept:
            result = train_first(detector, {domain: whole}, recipe, self.run, names, kept)
            return write_generation(self.store, detector, result, owners, origin)

    def _train_by_attack(self, data: Data) -> StageReport:
        detector, recipe = self._empty_detector()
        whole = prepare(detector, data, recipe, self.run)
        domains = by_attack(whole)
        for name in domains:
            self._require_free(name)
        owners = {name: (name, item) for name, item in domains.items()}
        origin = self._origin(recipe, [whole])
        with self._checkpoints("train", {name: name for name in domains}, origin, [whole]) as kept:
            result = train_first(detector, domains, recipe, self.run, checkpoints=kept)
            return write_generation(self.store, detector, result, owners, origin)

    def _empty_detector(self) -> tuple[Detector, Recipe]:
        recipe = self._recipe(None)
        detector = Detector(open_base(self.store), recipe).to(self.run.find_device())
        detector.base.compute_in(recipe.precision)
        return detector, recipe

    @contextmanager
    def _checkpoints(
        self, operation: str, experts: Mapping[str, str], origin: Origin, data: list[DomainData]
    ) -> Iterator[Checkpoints]:
        """The run's checkpoints; deleted when its result is written, kept when it fails or is killed."""
        decides = {
            "command": operation,
            "experts": ", ".join(f"{name} for {domain}" for name, domain in experts.items()) or "none",
            "seed": str(self.run.seed),
            "data": ", ".join(item.digest() for item in data) or "none",
            "parent generation": self._parent_identity(origin.parent),
            "base": self.store.base.sha256,
            "device": str(self.run.find_device()),
            **{f"version of {name}": version for name, version in package_versions().items()},
            **_flat(origin.recipe.model_dump(mode="json"), "recipe "),
        }
        with RunFolder.claim(self.store.path, decides, resume=self.run.resume) as folder:
            if folder.forgone:
                self.run.progress.note(
                    "training begins anew; an interrupted run of this command was there, which --resume goes on from"
                )
            try:
                yield Checkpoints(folder, self.run.progress)
            except (KeyboardInterrupt, RegistryError):
                if folder.stages:
                    self.run.progress.note(
                        "training so far is kept: the same command with --resume goes on from there"
                    )
                raise
            folder.finish()

    def _parent_identity(self, number: int | None) -> str:
        if number is None:
            return "none"
        path = layout.generation_folder(self.store.path, number) / layout.GENERATION
        return f"{number}, sha256 {sha256_of_file(path)}"

    def _origin(
        self,
        recipe: Recipe,
        data: list[DomainData],
        parent: int | None = None,
        old: Mapping[str, OldDomain] | None = None,
    ) -> Origin:
        failed = tuple(item for found in data for item in found.failed)
        remarks = tuple(line for found in data for line in found.remarks)
        return Origin(
            parent, old or {}, recipe, self.run.seed, self.licence, self.run.command, failed, remarks, data
        )

    def _recipe(self, active: GenerationRecord | None) -> Recipe:
        recipe = recipe_on(self.store, active, self.recipe)
        precision = self.run.precision or recipe.precision
        return recipe.model_copy(update={"precision": precision})

    def _require_free(self, name: str) -> None:
        if name in self.store.taken_names():
            raise RegistryError(
                f"an expert named {name!r} is already in registry {self.store.path}; choose another by --name, "
                f"or remove it first: molex-adapt remove {name} --purge"
            )


def recipe_on(store: Store, active: GenerationRecord | None, given: Recipe | None) -> Recipe:
    """The given recipe on a generation's structure; the generation's own where none is given.

    Raises:
        RecipeError: the given recipe asks for another structure.
    """
    if active is None:
        return given or Recipe()
    text = store.recipe(active.number) or ""
    content = parse_yaml(text.encode(), Path("recipe.yaml"))
    own = validate(Recipe, content, "the active generation's recipe", stored=True)
    return own if given is None else with_structure_of(own, given)


def _flat(content: Mapping[str, object], prefix: str) -> dict[str, str]:
    """Nested options by their paths, such as {"recipe expert.steps": "300"}."""
    found: dict[str, str] = {}
    for key, value in content.items():
        found |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
        )
    return found


def _apart_from(domain: str, old: Mapping[str, OldDomain]) -> dict[str, OldDomain]:
    """Old domains under keys that differ from the new one's, so that the gate looks at both."""
    return {f"{key} ({item.expert or 'known'})" if key == domain else key: item for key, item in old.items()}
