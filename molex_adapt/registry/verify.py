"""Whether everything in a registry is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.errors import MolexError
from molex_adapt.registry import create, files, staging
from molex_adapt.registry.draft import ADAPTER_CONFIG, HEAD, RECIPE, ROUTER
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.lock import write_lock
from molex_adapt.registry.records import GenerationRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from molex_adapt.registry.store import Store


def verify(store: Store, repair: bool) -> list[str]:
    """See `Store.verify`."""
    if repair:
        with write_lock(store.path, store.lock_seconds):
            for rest in _leftovers(store):
                staging.discard(rest)
    problems = _base_problems(store)
    for number in store.record().generations:
        problems += _problems(lambda number=number: store.generation(number))  # type: ignore[misc]
    seen: dict[str, None] = {}
    for generation in _readable(store):
        seen |= dict.fromkeys(generation_problems(store, generation))
    problems += list(seen)
    problems += [
        f"{rest} was left by an interrupted write. Delete it by molex-adapt verify --repair."
        for rest in _leftovers(store)
    ]
    return problems


def generation_problems(store: Store, generation: GenerationRecord) -> list[str]:
    """Faults of one generation and of its experts."""
    number = generation.number
    problems = []
    if set(generation.files) != {RECIPE, ROUTER, HEAD}:
        problems.append(
            f"generation {number} of {store.path} lists files {sorted(generation.files)}. {files.RESTORE}"
        )
    problems += _problems(
        lambda: store.recipe(number), lambda: store.router_tensors(number), lambda: store.head_tensors(number)
    )
    for name in generation.names:
        problems += _problems(
            lambda name=name: store.expert_weights(name, number),  # type: ignore[misc]
            lambda name=name: store.exemplar_tensors(name, number),  # type: ignore[misc]
            lambda name=name: _check_adapter_config(store, name, number),  # type: ignore[misc]
        )
    return list(dict.fromkeys(problems))


def _check_adapter_config(store: Store, name: str, number: int) -> None:
    from molex_adapt.registry.draft import adapter_config

    path = store.path / create.EXPERTS / name / ADAPTER_CONFIG
    expected = adapter_config(store.expert(name, number))
    files.require_digest(files.read_bytes(path, store.path), files.sha256(expected), path)


def _base_problems(store: Store) -> list[str]:
    folder = store.base_folder
    if folder is None:
        return []

    def compare() -> None:
        files.require_plain(folder / "config.json", store.path)
        for path in sorted(folder.glob("*.safetensors")):
            files.require_plain(path, store.path)
        found = weights_digest(folder)
        if found != store.base.sha256:
            raise MolexError(
                f"the embedded base in {folder} has weights sha256 {found[:12]}…; {store.base.sha256[:12]}… was "
                "recorded. Every score would change. Restore the folder from a copy."
            )

    return _problems(compare)


def _leftovers(store: Store) -> list[Path]:
    """Staging rests, and folders that no generation names."""
    experts, generations = store.path / create.EXPERTS, store.path / create.GENERATIONS
    found = [rest for folder in (store.path, experts, generations) for rest in staging.leftovers(folder)]
    record = store.record()
    readable = _readable(store)
    numbers = {str(number) for number in record.generations}
    found += [item for item in _items(generations) if item.name not in numbers]
    # With a generation that cannot be read, nobody knows which experts it names: keep them all.
    if len(readable) == len(record.generations):
        names = {name for generation in readable for name in generation.names}
        found += [item for item in _items(experts) if item.name not in names]
    return found


def _items(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [item for item in found if not item.name.startswith(staging.PREFIX)]


def _readable(store: Store) -> list[GenerationRecord]:
    found = []
    for number in store.record().generations:
        try:
            found.append(store.generation(number))
        except MolexError:
            continue
    return found


def _problems(*steps: Callable[[], object]) -> list[str]:
    found = []
    for step in steps:
        try:
            step()
        except MolexError as error:
            found.append(str(error))
    return found
