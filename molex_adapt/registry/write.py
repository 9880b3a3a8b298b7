"""Changes of a registry: each stages new folders, then replaces registry.yaml by one rename."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molex_adapt import atomic
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import checks, draft, files, layout, verify
from molex_adapt.registry.draft import GenerationDraft, NewExpert
from molex_adapt.registry.lock import write_lock
from molex_adapt.registry.records import ExpertEntry, ExpertRecord, GenerationRecord, RegistryRecord

if TYPE_CHECKING:
    from molex_adapt.registry.store import Store


def add_generation(store: Store, new: GenerationDraft, activate: bool) -> int:
    """See `Store.add_generation`."""
    new.check()
    with _writing(store) as record:
        return _add(store, record, new, activate)


def activate(store: Store, number: int) -> GenerationRecord:
    """See `Store.activate`."""
    with _writing(store) as record:
        found = store.generation(number)
        problems = verify.generation_problems(store, found)
        if problems:
            raise RegistryError(
                f"generation {number} of {store.path} is damaged and was not activated: {problems[0]}"
            )
        _replace(store, record, active=number)
        return found


def remove(store: Store, name: str, purge: bool, command: str) -> int | None:
    """See `Store.remove`."""
    with _writing(store) as record:
        active = store.active
        number = None
        if active is not None and name in active.names:
            number = _add(store, record, _without(store, active, name, command), activate=True)
        elif not purge or name not in store.taken_names():
            where = "active generation" if not purge else "any generation"
            raise ExpertError(
                f"registry {store.path} has no expert {name!r} in {where}; it has "
                f"{', '.join(active.names if active else []) or 'none'}. molex-adapt list shows them."
            )
        if purge:
            _purge(store, name)
        return number


def _add(store: Store, record: RegistryRecord, new: GenerationDraft, activate: bool) -> int:
    if new.parent != record.active:
        raise RegistryError(
            f"generation {record.active} of {store.path} is active, but this work began from generation "
            f"{new.parent}: another writer was first. Run the command again; it will start from the new state."
        )
    number = max(record.generations, default=0) + 1
    known = {entry.name: entry for found in verify.readable_generations(store) for entry in found.experts}
    _check_names(store, new, known)
    published: list[Path] = []
    fresh: dict[str, ExpertRecord] = {}
    try:
        for item in new.new_experts:
            fresh[item.record.name] = _publish_expert(store, item, published)
        experts = [
            fresh.get(name) or layout.read_expert(store.path, known[name], store.base) for name in new.experts
        ]
        _, content = draft.generation_files(new, number, experts)
        _publish(layout.generation_folder(store.path, number), content, published)
        _replace(store, record, active=number if activate else record.active, added=number)
    finally:
        if number not in store.record().generations:
            for folder in published:
                atomic.discard(folder)
    return number


def _check_names(store: Store, new: GenerationDraft, known: dict[str, ExpertEntry]) -> None:
    for item in new.new_experts:
        checks.check_base(item.record, store.base)
        if item.record.name in known or _may_be_named(store, item.record.name):
            raise RegistryError(
                f"an expert named {item.record.name!r} is already in registry {store.path}, perhaps in a generation "
                f"that is not active. Choose another name, or first molex-adapt remove {item.record.name} --purge."
            )
    fresh = {item.record.name for item in new.new_experts}
    for name in new.experts:
        if name not in fresh and name not in known:
            raise ExpertError(f"registry {store.path} has no expert {name!r} to build a generation from")


def _may_be_named(store: Store, name: str) -> bool:
    """Whether a folder stands there that a generation nobody can read may name."""
    unreadable = len(verify.readable_generations(store)) < len(store.record().generations)
    return unreadable and layout.expert_folder(store.path, name).exists()


def _publish_expert(store: Store, item: NewExpert, published: list[Path]) -> ExpertRecord:
    record, content = draft.expert_files(item)
    _publish(layout.expert_folder(store.path, record.name), content, published)
    return record


def _publish(target: Path, content: dict[str, bytes], published: list[Path]) -> None:
    # No generation names this folder: if it is there, an interrupted write left it.
    atomic.discard(target)
    published.append(target)
    draft.publish(target, content)


def _without(store: Store, active: GenerationRecord, name: str, command: str) -> GenerationDraft:
    index = active.names.index(name)
    router = store.router_tensors()
    for key, rows in router.items():
        if key.endswith(".rows"):
            router[key] = np.delete(rows, index, axis=0)
    return GenerationDraft(
        parent=active.number,
        experts=[other for other in active.names if other != name],
        router=router,
        head=store.head_tensors(),
        recipe=store.recipe() or "",
        calibration=(active.calibration.scale, active.calibration.offset),
        threshold=active.threshold,
        command=command,
        remarks=[f"expert {name} was removed with its router rows; nothing was trained or measured again"],
    )


def _purge(store: Store, name: str) -> None:
    doomed = [generation.number for generation in store.history() if name in generation.names]
    _replace(store, store.record(), dropped=doomed)
    for number in doomed:
        atomic.discard(layout.generation_folder(store.path, number))
    atomic.discard(layout.expert_folder(store.path, name))


def _replace(
    store: Store,
    record: RegistryRecord,
    *,
    active: int | None = None,
    added: int | None = None,
    dropped: list[int] | None = None,
) -> None:
    """The one step by which a change becomes real."""
    generations = [number for number in record.generations if number not in (dropped or [])]
    content = record.model_dump() | {
        "active": record.active if active is None else active,
        "generations": [*generations, *([] if added is None else [added])],
    }
    atomic.replace_file(
        store.path / layout.REGISTRY, files.dump_record(RegistryRecord.model_validate(content))
    )


@contextmanager
def _writing(store: Store) -> Iterator[RegistryRecord]:
    """Under the lock, after sweeping what interrupted writes left; disk errors become RegistryError."""
    try:
        layout.require_own_folders(store.path)
        with write_lock(store.path, store.lock_seconds):
            for folder in (store.path, store.path / layout.EXPERTS, store.path / layout.GENERATIONS):
                for rest in atomic.leftovers(folder):
                    atomic.discard(rest)
            yield store.record()
    except OSError as error:
        raise RegistryError(
            f"writing registry {store.path} failed: {error}. It is whole, either as it was or with the change "
            "complete; molex-adapt history shows which. Check space and permissions there, then try again."
        ) from None
