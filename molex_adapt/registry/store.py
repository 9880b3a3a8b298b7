"""The registry on disk: experts, generations, and which of them is active.

Everything below `experts/` and `generations/` is written once and never changed. `registry.yaml` alone is replaced,
by one rename: that is what activates, adds or forgets a generation.

What only writes is imported by the method that writes: reading is to be there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from molex_adapt.conventions import EXPORT
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import layout
from molex_adapt.registry.draft import GenerationDraft
from molex_adapt.registry.files import Arrays
from molex_adapt.registry.forgetting import Forgetting, forgetting
from molex_adapt.registry.lock import LOCK_SECONDS, require_writable
from molex_adapt.registry.records import (
    BaseRecord,
    ExpertEntry,
    ExpertRecord,
    ExpertSummary,
    GenerationRecord,
    RegistryRecord,
)


class Store:
    """A registry folder, whose writes wait `lock_seconds` for another writer.

    Reading never waits and always sees one consistent state; writing takes the lock.
    """

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self.path = path
        self.lock_seconds = lock_seconds

    @classmethod
    def create(
        cls,
        path: Path | str,
        base: BaseRecord,
        embedded_from: Path | None = None,
        published: GenerationDraft | None = None,
    ) -> Store:
        """A new registry without experts, in a folder that does not exist yet, or is empty.

        With `embedded_from`, a folder with config.json and safetensors weights, the base is copied into the registry.
        A `published` detector on that base becomes generation 0, the active one.

        Raises:
            RegistryError: something is there already, or the copied weights have another hash.
        """
        from molex_adapt.registry import create

        create.create(Path(path), base, embedded_from, published)
        return cls.open(path)

    @classmethod
    def copy(cls, source: Path | str, path: Path | str) -> Store:
        """A copy of a whole registry, in a folder that does not exist yet or is empty; else RegistryError."""
        from molex_adapt.registry import create

        cls.open(source)
        create.copy(Path(source), Path(path))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """An existing registry; RegistryError where there is none, or it is damaged or of another format."""
        folder = Path(path)
        if not (folder / layout.REGISTRY).exists():
            from molex_adapt.registry import create

            if (folder / EXPORT).exists():
                raise RegistryError(
                    f"{folder} is an export, which molex-adapt score takes alone. Name the registry that it was made "
                    "of by --registry or $MOLEX_REGISTRY."
                )
            broken = " Its creation was interrupted." if (folder / create.CREATING).exists() else ""
            if not broken and (folder / layout.GENERATIONS).exists():
                raise RegistryError(
                    f"{folder} has generations and no {layout.REGISTRY}, which says which of them is active. "
                    "Restore it from a copy, or make another registry."
                )
            raise RegistryError(
                f"{folder} holds no registry ({layout.REGISTRY} is missing).{broken} Make one with "
                f"molex-adapt init embedded --registry {folder} (the shipped detector; or a base of your own in place "
                "of embedded), or name another folder by --registry or $MOLEX_REGISTRY."
            )
        store = cls(folder)
        store.record()
        return store

    def record(self) -> RegistryRecord:
        """registry.yaml as it stands on disk now."""
        return layout.read_registry(self.path)

    @property
    def base(self) -> BaseRecord:
        """The base that every expert here was trained on."""
        return self.record().base

    @property
    def base_folder(self) -> Path | None:
        """Folder of the embedded base; None for a base on the Hub."""
        return self.path / layout.BASE if self.base.embedded else None

    @property
    def active(self) -> GenerationRecord | None:
        """The active generation; None while there are no experts."""
        record = self.record()
        return None if record.active is None else layout.find_generation(self.path, record)

    def generation(self, number: int | None = None) -> GenerationRecord:
        """One generation; None for the active one. RegistryError where there is none, or it is damaged."""
        return layout.find_generation(self.path, self.record(), number)

    def ancestry(self, generation: int | None = None) -> Iterator[GenerationRecord]:
        """A generation, or the active one, and those that it was made from, newest first, as far as they are there.

        Purging an expert takes generations out of the chain; what is older follows.

        Raises:
            RegistryError: no such generation, or a file is damaged.
        """
        registry, record = self.record(), self.generation(generation)
        yield record
        while (before := registry.before(record)) is not None:
            record = self.generation(before)
            yield record

    def tried_on_unheard(self, generation: int | None = None) -> GenerationRecord | None:
        """Which one tried a generation's threshold on unheard voices: later ones keep it. None if none did."""
        threshold = self.generation(generation).threshold
        for former in self.ancestry(generation):
            if former.threshold != threshold:
                return None
            if former.unheard is not None:
                return former
        return None

    def raised(self, generation: int | None = None) -> dict[str, float]:
        """By expert, nats by which the calibration's offset rose when it came; without those of which nobody knows."""
        from molex_adapt.registry.raises import raises_of

        return raises_of(self.path, self.record(), self.generation(generation))

    def history(self) -> list[GenerationRecord]:
        """All generations, oldest first; those that were refused as well."""
        return [layout.read_generation(self.path, number) for number in self.record().generations]

    def forgetting(self, generation: int | None = None) -> Forgetting:
        """Every domain's EER along the generations that led to one, or to the active one, as they recorded it."""
        chain = list(self.ancestry(generation))[::-1]
        base, entries = self.base, {entry.name: entry for record in chain for entry in record.experts}
        return forgetting(
            chain, {name: layout.read_expert(self.path, entry, base) for name, entry in entries.items()}
        )

    def recipe(self, number: int | None = None) -> str | None:
        """The resolved recipe of a generation, as YAML; None where there is no generation at all."""
        if number is None and self.record().active is None:
            return None
        return layout.read_recipe(self.path, self.generation(number))

    def experts(self, number: int | None = None) -> list[ExpertRecord]:
        """The experts of a generation in router order; of the active one by default, none where there is none."""
        if number is None and self.record().active is None:
            return []
        base = self.base
        return [layout.read_expert(self.path, entry, base) for entry in self.generation(number).experts]

    def summaries(self, generation: GenerationRecord) -> list[ExpertSummary]:
        """What a listing shows of a generation's experts, in router order; opens no expert."""
        return layout.read_summaries(self.path, generation)

    def expert(self, name: str, number: int | None = None) -> ExpertRecord:
        """One expert of a generation; ExpertError where it has no such one."""
        return layout.read_expert(self.path, self._entry(name, number), self.base)

    def expert_folder(self, name: str) -> Path:
        """Where an expert's PEFT adapter lies."""
        return layout.expert_folder(self.path, self._entry(name, None).name)

    def expert_weights(self, name: str, number: int | None = None) -> Arrays:
        """LoRA matrices under their PEFT names, checked against hash and record."""
        return layout.read_weights(self.path, self.expert(name, number))

    def exemplar_tensors(self, name: str, number: int | None = None) -> Arrays | None:
        """What an expert kept of its domain; None where nothing was kept."""
        return layout.read_exemplars(self.path, self.expert(name, number))

    def routing_tensors(self, name: str, number: int | None = None) -> Arrays | None:
        """What routers read of an expert's domain; None where that is not kept."""
        return layout.read_routing(self.path, self.expert(name, number))

    def router_tensors(self, number: int | None = None) -> Arrays:
        """`blocks.{l}.rows` (E, D + 1), `.centre` (D,), `.spread` (D,), float32."""
        return layout.read_router(self.path, self.generation(number))

    def withdrawn(self, number: int | None = None) -> list[str]:
        """Experts whose gates are closed, also in generations whose records do not say it."""
        generation = self.generation(number)
        if generation.withdrawn is not None:
            return list(generation.withdrawn)
        from molex_adapt.registry.withdrawn import closed

        rows = self.router_tensors(generation.number)["blocks.0.rows"]
        return [name for name, shut in zip(generation.names, closed(rows), strict=True) if shut]

    def head_tensors(self, number: int | None = None) -> Arrays:
        """The head's state."""
        return layout.read_head(self.path, self.generation(number))

    def taken_names(self) -> set[str]:
        """Names that a new expert cannot have: those of every generation, refused and old ones as well."""
        return {name for generation in self.history() for name in generation.names}

    def require_writable(self) -> None:
        """Refuse, before the work, a registry that its result could not be written to.

        Raises:
            RegistryError: there is no right to write, or the file system is only to be read.
        """
        require_writable(self.path)

    def add_generation(self, draft: GenerationDraft, *, activate: bool) -> int:
        """Write a generation and its new experts; returns its number.

        Raises:
            RegistryError: another writer was first, a name is taken, or the draft does not fit the registry.
            ExpertError: an expert's weights do not fit its record, or its base is another.
        """
        from molex_adapt.registry import write

        return write.add_generation(self.path, draft, activate, self.lock_seconds)

    def activate(self, number: int) -> GenerationRecord:
        """Make an existing generation the active one, once it is found whole."""
        from molex_adapt.registry import write

        return write.activate(self.path, number, self.lock_seconds)

    def rollback(self, number: int | None = None) -> GenerationRecord:
        """Go back to generation `number`, or to the active one's parent."""
        return self.activate(self._parent() if number is None else number)

    def remove(self, name: str, *, purge: bool = False, command: str = "") -> int | None:
        """A new active generation without the expert and its router rows; returns its number.

        With `purge` its files go, and every generation that names it, for good, and other experts that no generation
        names any more; without, a rollback brings the expert back. A purge may name an expert of inactive generations
        only; then there is no new generation and None is returned. `command` is what the new generation says it was
        made by; without it, this one.

        Raises:
            ExpertError: there is no such expert.
        """
        from molex_adapt.registry import write

        return write.remove(self.path, name, purge, command, self.lock_seconds)

    def verify(self, repair: bool = False) -> list[str]:
        """Check every file; returns the problems.

        With `repair`, delete what interrupted writes left behind, and the checkpoints of training that no process is
        at. Nothing that a generation names is touched, nor a whole generation that came after those of registry.yaml.
        """
        from molex_adapt.registry import verify

        return verify.verify(self.path, repair, self.lock_seconds)

    def _parent(self) -> int:
        active = self.generation()
        before = self.record().before(active)
        if before is None:
            why = (
                "is the first and has no parent"
                if active.parent is None
                else f"was made from generation {active.parent}, which was purged"
            )
            raise RegistryError(
                f"generation {active.number} of {self.path} {why}. "
                f"Name one: molex-adapt rollback N; molex-adapt history --registry {self.path} lists them."
            )
        return before

    def _entry(self, name: str, number: int | None) -> ExpertEntry:
        found = self.generation(number)
        for entry in found.experts:
            if entry.name == name:
                return entry
        others = [str(each.number) for each in self.history() if name in each.names]
        elsewhere = f" Generation {' and '.join(others)} has it." if others else ""
        raise ExpertError(
            f"generation {found.number} of {self.path} has no expert {name!r}; it has "
            f"{', '.join(found.names) or 'none'}. molex-adapt list --registry {self.path} shows them.{elsewhere}"
        )
