"""Changes of a registry: each stages new folders, then replaces registry.yaml by one rename."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from molex_adapt import atomic
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import checks, draft, files, layout, verify
from molex_adapt.registry.draft import GenerationDraft, NewExpert
from molex_adapt.registry.lock import write_lock
from molex_adapt.registry.raises import raises_after, raises_of
from molex_adapt.registry.records import ExpertEntry, ExpertRecord, GenerationRecord, RegistryRecord
from molex_adapt.witnesses import brought_speech, head_digest, of_expert, without

_RAISE_UNKNOWN = (
    "the calibration stays as it was: by how much it was raised when the expert came is not known any more, for the "
    "generation before it was purged"
)


def add_generation(root: Path, new: GenerationDraft, activate: bool, lock_seconds: float) -> int:
    """See `Store.add_generation`."""
    new.check()
    with _writing(root, lock_seconds) as record:
        return _add(root, record, new, activate)


def activate(root: Path, number: int, lock_seconds: float) -> GenerationRecord:
    """See `Store.activate`."""
    with _writing(root, lock_seconds) as record:
        found = layout.find_generation(root, record, number)
        problems = verify.generation_problems(root, record.base, found)
        if problems:
            raise RegistryError(
                f"generation {number} of {root} is damaged and was not activated: {problems[0]}"
            )
        _replace(root, record, active=number)
        return found


def remove(root: Path, name: str, purge: bool, command: str, lock_seconds: float) -> int | None:
    """See `Store.remove`."""
    command = command or f"molex-adapt remove {name}{' --purge' if purge else ''}"
    with _writing(root, lock_seconds) as record:
        active = layout.find_generation(root, record) if record.active is not None else None
        number = None
        if active is not None and name in active.names:
            left = _without(root, record, active, name, command)
            number = _add(root, record, left, activate=True)
        elif not purge or not _naming(root, record, name):
            where = "active generation" if not purge else "any generation"
            raise ExpertError(
                f"registry {root} has no expert {name!r} in {where}; it has "
                f"{', '.join(active.names if active else []) or 'none'}. molex-adapt list --registry {root} shows "
                "them."
            )
        if purge:
            _purge(root, name)
        return number


def _naming(root: Path, record: RegistryRecord, name: str) -> list[int]:
    """The generations that have an expert."""
    return [number for number in record.generations if name in layout.read_generation(root, number).names]


def _add(root: Path, record: RegistryRecord, new: GenerationDraft, activate: bool) -> int:
    if new.parent != record.active:
        raise RegistryError(
            f"generation {record.active} of {root} is active, but this work began from generation "
            f"{new.parent}: another writer was first. Run the command again; it will start from the new state."
        )
    number = max(record.generations, default=0) + 1
    known = _check_names(root, record, new)
    published: list[Path] = []
    fresh: dict[str, ExpertRecord] = {}
    try:
        for item in new.new_experts:
            fresh[item.record.name] = _publish_expert(root, _under(new.head, item), published)
        experts = [
            fresh.get(name) or layout.read_expert(root, known[name], record.base) for name in new.experts
        ]
        pulled = () if new.parent is None else layout.read_generation(root, new.parent).pulled or ()
        raised = raises_after(root, record, new)
        _, content = draft.generation_files(new, number, experts, raised, pulled)
        _publish(layout.generation_folder(root, number), content, published)
        _replace(root, record, active=number if activate else record.active, added=number)
    finally:
        if number not in layout.read_registry(root).generations:
            for folder in published:
                atomic.discard(folder)
    return number


def _check_names(root: Path, record: RegistryRecord, new: GenerationDraft) -> dict[str, ExpertEntry]:
    """The experts that a generation can be built from, by name, once those that it brings are found to be new."""
    readable = layout.readable_generations(root, record)
    known = {entry.name: entry for found in readable for entry in found.experts}
    # A generation that nobody can read may name any folder that stands there.
    unreadable = len(readable) < len(record.generations)
    for item in new.new_experts:
        checks.check_base(item.record, record.base)
        name = item.record.name
        if name in known or (unreadable and layout.expert_folder(root, name).exists()):
            raise RegistryError(
                f"an expert named {name!r} is already in registry {root}, perhaps in a generation "
                f"that is not active. Choose another name, or first molex-adapt remove {name} --purge "
                f"--registry {root}."
            )
    brought = {item.record.name for item in new.new_experts}
    missing = [name for name in new.experts if name not in known.keys() | brought]
    if missing:
        raise ExpertError(f"registry {root} has no expert {missing[0]!r} to build a generation from")
    return known


def _under(head: files.Arrays, item: NewExpert) -> NewExpert:
    """The same, with the head that it was trained under on record; what was pulled says that itself, if it knows."""
    if item.record.origin is not None:
        return item
    return replace(item, record=item.record.model_copy(update={"head_sha256": head_digest(head)}))


def _publish_expert(root: Path, item: NewExpert, published: list[Path]) -> ExpertRecord:
    record, content = draft.expert_files(item)
    _publish(layout.expert_folder(root, record.name), content, published)
    return record


def _publish(target: Path, content: dict[str, bytes], published: list[Path]) -> None:
    # No generation names this folder: if it is there, an interrupted write left it.
    atomic.discard(target)
    published.append(target)
    with atomic.publishing(target) as staged:
        for name, body in content.items():
            atomic.put(staged, name, body)


def _without(
    root: Path, record: RegistryRecord, active: GenerationRecord, name: str, command: str
) -> GenerationDraft:
    index = active.names.index(name)
    router = layout.read_router(root, active)
    for key, rows in router.items():
        if key.endswith(".rows"):
            router[key] = np.delete(rows, index, axis=0)
    kept = layout.read_routing(root, _record_of(root, active, name))
    head = layout.read_head(root, active)
    raised = raises_of(root, record, active).get(name)
    return GenerationDraft(
        parent=active.number,
        experts=[other for other in active.names if other != name],
        router=router,
        head=without(head, name, kept),
        recipe=layout.read_recipe(root, active),
        calibration=(active.calibration.scale, active.calibration.offset - (raised or 0.0)),
        threshold=active.threshold,
        command=command,
        remarks=[*_remarks(head, name, kept), *([] if raised is not None else [_RAISE_UNKNOWN])],
    )


def _remarks(head: files.Arrays, name: str, kept: files.Arrays | None) -> list[str]:
    """What goes with an expert, and what stays of it and of its domain."""
    told = [
        f"expert {name} was removed with its router rows and witnesses; nothing was trained or measured again",
        "the router rows of the others stay as its router stage left them",
    ]
    if not of_expert(head, name):
        return told
    if not brought_speech(head, kept):
        told.append(
            "the readout's statistics of real speech still have its recordings in them: nothing tells them apart"
        )
    if of_expert(head, ""):
        told.append(
            "the witness for any attack stays as it was learnt, from all domains of the first training"
        )
    return told


def _record_of(root: Path, active: GenerationRecord, name: str) -> ExpertRecord:
    (entry,) = (entry for entry in active.experts if entry.name == name)
    return layout.read_expert(root, entry, layout.read_registry(root).base)


def _purge(root: Path, name: str) -> None:
    record = layout.read_registry(root)
    found = [layout.read_generation(root, number) for number in record.generations]
    doomed = [generation for generation in found if name in generation.names]
    kept = {other for generation in found if name not in generation.names for other in generation.names}
    _replace(root, record, dropped=doomed)
    for generation in doomed:
        atomic.discard(layout.generation_folder(root, generation.number))
    # No rollback could bring back an expert that these generations alone had.
    for other in {other for generation in doomed for other in generation.names} - kept:
        atomic.discard(layout.expert_folder(root, other))


def _replace(
    root: Path,
    record: RegistryRecord,
    *,
    active: int | None = None,
    added: int | None = None,
    dropped: Sequence[GenerationRecord] = (),
) -> None:
    """The one step by which a change becomes real."""
    gone = {generation.number: generation.parent for generation in dropped}
    generations = [number for number in record.generations if number not in gone]
    former = [item for item in record.purged if item.number != added]  # a number above all others comes again
    content = record.model_dump() | {
        "active": record.active if active is None else active,
        "generations": [*generations, *([] if added is None else [added])],
        "purged": [
            *former,
            *({"number": number, "parent": parent} for number, parent in gone.items()),
        ],
    }
    atomic.replace_file(root / layout.REGISTRY, files.dump_record(RegistryRecord.model_validate(content)))


@contextmanager
def _writing(root: Path, lock_seconds: float) -> Iterator[RegistryRecord]:
    """Under the lock, after sweeping what interrupted writes left; disk errors become RegistryError."""
    try:
        layout.require_own_folders(root)
        with write_lock(root, lock_seconds):
            for folder in (root, root / layout.EXPERTS, root / layout.GENERATIONS):
                for rest in atomic.leftovers(folder):
                    atomic.discard(rest)
            yield layout.read_registry(root)
    except OSError as error:
        raise RegistryError(
            f"writing registry {root} failed: {error}. It is whole, either as it was or with the change "
            "complete; molex-adapt history shows which. Check space and permissions there, then try again."
        ) from None
