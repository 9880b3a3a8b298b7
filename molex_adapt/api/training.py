"""One training on a registry: where it begins, what it leaves behind when it is killed, what it ends in."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from molex_adapt.api.inputs import Data, check_name, recipe_on
from molex_adapt.api.known import old_domains
from molex_adapt.conventions import SPLITS, Split
from molex_adapt.data import Failed, Table
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256_of_file
from molex_adapt.errors import DataError, RegistryError
from molex_adapt.features import voices_of
from molex_adapt.processes import from_first
from molex_adapt.recipe import Recipe
from molex_adapt.registry import GenerationRecord, Store, layout
from molex_adapt.registry.assemble import build_detector, open_base, published_detector
from molex_adapt.registry.checkpoints import RunFolder
from molex_adapt.registry.records import OTHER_LICENCE, package_versions
from molex_adapt.run import Run
from molex_adapt.text import storable
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain
from molex_adapt.train.prepare import DomainData, prepare, prepare_check

Owners: TypeAlias = Mapping[str, tuple[str, DomainData]]
"""Domain and data of each new expert, by its name."""


@dataclass
class Training:
    """One training, from the generation that it begins at to the one that it writes.

    Whatever else happens to the registry meanwhile, it works on the generation that was active when it began, and the
    store refuses to write what did not come from the one that is active then.
    """

    store: Store
    active: GenerationRecord | None
    """The generation that it begins at; None for an empty registry."""
    recipe: Recipe
    licence: str
    """Of the new experts."""
    run: Run
    detector: Detector
    """Of that generation, or without experts; changed in place."""
    old: Mapping[str, OldDomain]
    """That generation's domains."""
    data: list[DomainData] = field(default_factory=list)
    """What is trained and measured on, so far."""
    remarks: list[str] = field(default_factory=list)
    """What is to be said besides what training finds."""
    failed: list[Failed] = field(default_factory=list)
    """What could not be used of what old domains are checked on."""
    asked: dict[str, str] = field(default_factory=dict)
    """What else decides the result and was asked for, by what it is called in messages."""

    @classmethod
    def begin(
        cls,
        store: Store,
        active: GenerationRecord | None,
        given: Recipe | None,
        licence: str,
        run: Run,
        domain: str | None = None,
    ) -> Training:
        """Load what is there; `given` is the caller's recipe, None for the generation's own, and `domain` the new one.

        Raises:
            RecipeError: the recipe asks for another structure than the mixture has, or there is no such device.
        """
        recipe, device = recipe_on(store, active, given, run.precision), run.find_device()
        published = store.base.published
        if published is not None and licence == OTHER_LICENCE:
            licence = published.licence or licence  # what is learnt inside a detector is bound to its licence
        if active is None or active.is_published:
            empty = (
                Detector(open_base(store), recipe) if active is None else published_detector(store, recipe)
            )
            detector = empty.to(device)
            detector.base.compute_in(recipe.precision)
            # The detector's recipe names the adapted layers as this base does.
            return cls(store, active, detector.recipe, licence, run, detector, {})
        detector = build_detector(store, active.number, device, precision=recipe.precision)
        old = _apart_from(domain, old_domains(store, active.number))
        return cls(store, active, recipe, licence, run, detector, old)

    def require_free(self, names: Iterable[str]) -> None:
        """Refuse names of experts that are there already.

        Raises:
            RegistryError: one is.
        """
        taken = self.store.taken_names()
        for name in names:
            if name in taken:
                raise RegistryError(
                    f"an expert named {name!r} is already in registry {self.store.path}; choose another "
                    f"(add-expert --name, train --domain), or remove it first: molex-adapt remove {name} --purge "
                    f"--registry {self.store.path}"
                )

    def prepare(self, data: Data, require: Callable[[Table], object] = lambda divided: None) -> DomainData:
        """Audited, divided, turned into features; see `train.prepare`."""
        prepared = prepare(self.detector, data, self.recipe, self.run, require)
        self.data.append(prepared)
        return prepared

    def check_on(self, data: Data, new_domain: str) -> None:
        """Measure old domains on labelled recordings of the caller's, by the names of their attacks.

        Of data that training divided, that is the test split.

        Raises:
            DataError: it cannot be used, or has the new domain's own attack.
        """
        table, features, lost = prepare_check(self.detector, data, self.recipe, self.run)
        self.failed += lost
        self.asked["checked on"] = f"{self.asked.get('checked on', '')} {table.digest()}".strip()
        old = dict(self.old)
        for given, attacks in table.domains.items():
            name = given.lower()
            if name == new_domain:
                raise DataError(
                    f"{table.root}: {given!r} is the new domain, which is measured on its own test split; old domains "
                    "are checked. Leave it out"
                )
            own = features.of_attacks(attacks)
            known = old.get(name, OldDomain(None, None))
            replay = own.pick([]) if known.exemplars is None else known.exemplars.replay
            old[name] = replace(known, exemplars=Exemplars(replay, own), voices=voices_of(table))
            counts = f"{len(own.of_class(True))} bona fide and {len(own.of_class(False))} spoofed recordings"
            self.remarks.append(f"{name} is measured on {counts} that were given to check on")
        self.old = old

    @contextmanager
    def checkpoints(self, command: str, owners: Owners) -> Iterator[Checkpoints]:
        """Its checkpoints; deleted when its result is written, kept when it fails or is killed.

        Of several processes the first keeps them for all.
        """
        note = self.run.progress.note
        decided_by = self._decided_by(command, owners)
        claimed: list[RunFolder] = []
        from_first(
            lambda: claimed.append(RunFolder.claim(self.store.path, decided_by, resume=self.run.resume))
        )
        if not claimed:
            yield Checkpoints(None, self.run.progress)
            return
        with claimed[0] as folder:
            if folder.forgone:
                note(
                    "training begins anew; an interrupted run of this command was there, which --resume goes on from"
                )
            try:
                yield Checkpoints(folder, self.run.progress)
            except (KeyboardInterrupt, RegistryError):
                if folder.stages:
                    note("training so far is kept: the same command with --resume goes on from there")
                raise
            folder.finish()

    def _decided_by(self, command: str, owners: Owners) -> dict[str, str]:
        """Everything that decides the result, by what it is called in messages."""
        experts = ", ".join(f"{name} for {domain}" for name, (domain, _) in owners.items())
        return {
            "command": command,
            "experts": experts or "none",
            "seed": str(self.run.seed),
            "data": ", ".join(item.digest() for item in self.data) or "none",
            "parent generation": self._parent_identity(),
            "base": self.store.base.sha256,
            "device": str(self.detector.device),
            "licence": storable(self.licence),
            **self.asked,
            **{f"version of {name}": version for name, version in package_versions().items()},
            **_flat(self.recipe.model_dump(mode="json"), "recipe "),
        }

    def _parent_identity(self) -> str:
        if self.active is None:
            return "none"
        path = layout.generation_folder(self.store.path, self.active.number) / layout.GENERATION
        return f"{self.active.number}, sha256 {sha256_of_file(path)}"


def by_domain(whole: DomainData) -> dict[str, DomainData]:
    """One domain per attack, or as the data groups them, named in lower case, each with all bona fide speech.

    Raises:
        DataError: an attack cannot be a name, or is missing from a split.
    """
    domains: dict[str, DomainData] = {}
    for name, given in domain_names(whole.table).items():
        domain = whole.of_attacks(whole.table.domains[given])
        heard = [split for split in SPLITS if not bool(getattr(domain, split).bona_fide.all())]
        _require_every_split(given, heard)
        domains[name] = domain
    return domains


def require_domains(table: Table) -> None:
    """Refuse a divided table of which `by_domain` could make no domains.

    Raises:
        DataError: as `by_domain`.
    """
    for given in domain_names(table).values():
        attacks = table.domains[given]
        _require_every_split(given, {item.split for item in table if item.attack in attacks})


def domain_names(table: Table) -> dict[str, str]:
    """The name of every domain, in lower case, and what the data calls it.

    Raises:
        DataError: it cannot be a name, or two differ in case only.
    """
    names: dict[str, str] = {}
    for given in table.domains:
        name = check_name(given.lower(), "attack")
        if name in names:
            raise DataError(f"attacks {name!r} and {given!r} differ in case only; give them different names")
        names[name] = given
    return names


def _require_every_split(given: str, heard: Container[Split | None]) -> None:
    missing = [split for split in SPLITS if split not in heard]
    if missing:
        raise DataError(
            f"attack {given!r} has no usable recordings for {' and '.join(missing)}; each attack is trained on and "
            "measured by itself and needs some in every split. Add recordings, state other splits in a manifest, or "
            "let experts share the data (molex-adapt train --domain NAME --experts N)"
        )


def by_domain_of_all(several: Sequence[DomainData]) -> dict[str, DomainData]:
    """As `by_domain`, of several data sets together.

    Raises:
        DataError: also where two of them have an attack of the same name.
    """
    domains: dict[str, DomainData] = {}
    for found in map(by_domain, several):
        twice = sorted(found.keys() & domains.keys())
        if twice:
            raise DataError(f"attack {twice[0]!r} comes in two of the data sets; put them into one manifest")
        domains |= found
    return domains


def _flat(content: Mapping[str, object], prefix: str) -> dict[str, str]:
    """Nested options by their paths, such as {"recipe expert.steps": "300"}."""
    found: dict[str, str] = {}
    for key, value in content.items():
        path = f"{prefix}{key}"
        found |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: str(value)}
    return found


def _apart_from(domain: str | None, old: Mapping[str, OldDomain]) -> dict[str, OldDomain]:
    """Old domains under keys that differ from the new one's, so that acceptance looks at both."""
    return {f"{key} ({item.expert or 'known'})" if key == domain else key: item for key, item in old.items()}
