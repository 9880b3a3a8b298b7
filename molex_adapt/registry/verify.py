"""Whether everything in a registry is what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt import atomic
from molex_adapt.errors import ExpertError, MolexError, RegistryError
from molex_adapt.registry import checkpoints, files, layout
from molex_adapt.registry.draft import adapter_config, summaries
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.layout import HEAD, RECIPE, ROUTER, SUMMARIES
from molex_adapt.registry.lock import write_lock
from molex_adapt.registry.records import GenerationRecord
from molex_adapt.text import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from molex_adapt.registry.store import Store

_MOST_CONFIG_BYTES = 2**20


def verify(store: Store, repair: bool) -> list[str]:
    """See `Store.verify`."""
    if repair:
        _repair(store)
    problems = _base_problems(store)
    for number in store.record().generations:
        problems += _problems(lambda number=number: store.generation(number))  # type: ignore[misc]
    seen: dict[str, None] = {}
    for generation in readable_generations(store):
        seen |= dict.fromkeys(generation_problems(store, generation))
    problems += list(seen)
    problems += [
        f"{rest} was left by an interrupted write. Delete it by molex-adapt verify --repair."
        for rest in _leftovers(store)
    ]
    return problems


def _repair(store: Store) -> None:
    layout.require_own_folders(store.path)
    try:
        with write_lock(store.path, store.lock_seconds):
            for rest in _leftovers(store):
                atomic.discard(rest)
            checkpoints.clear(store.path)
    except OSError as error:
        raise RegistryError(
            f"leftovers in registry {store.path} cannot be deleted: {error}. Check permissions there."
        ) from None


def generation_problems(store: Store, generation: GenerationRecord) -> list[str]:
    """Faults of one generation and of its experts."""
    number = generation.number
    problems = []
    if set(generation.files) != {RECIPE, ROUTER, HEAD, SUMMARIES}:
        problems.append(
            f"generation {number} of {store.path} lists files {sorted(generation.files)}. {files.RESTORE}"
        )
    problems += _problems(
        lambda: _check_summaries(store, generation),
        lambda: store.recipe(number),
        lambda: store.router_tensors(number),
        lambda: store.head_tensors(number),
    )
    for name in generation.names:
        problems += _problems(
            lambda name=name: store.expert_weights(name, number),  # type: ignore[misc]
            lambda name=name: store.exemplar_tensors(name, number),  # type: ignore[misc]
            lambda name=name: _check_adapter_config(store, name, number),  # type: ignore[misc]
        )
    return list(dict.fromkeys(problems))


def _check_summaries(store: Store, generation: GenerationRecord) -> None:
    found = layout.read_generation_file(store.path, generation, SUMMARIES)
    if found != summaries(store.experts(generation.number)):
        path = layout.generation_folder(store.path, generation.number) / SUMMARIES
        raise RegistryError(f"{path} does not say what the experts' own records say. {files.RESTORE}")


def _check_adapter_config(store: Store, name: str, number: int) -> None:
    path = layout.expert_folder(store.path, name) / layout.ADAPTER_CONFIG
    expected = json.loads(adapter_config(store.expert(name, number)))
    try:
        found = json.loads(
            files.read_bytes(path, store.path, _MOST_CONFIG_BYTES), object_pairs_hook=files.unique
        )
    except (ValueError, RecursionError) as error:
        raise ExpertError(f"{path} is not JSON: {short(error, 100)}. {files.RESTORE}") from None
    for key in ("peft_type", "r", "lora_alpha", "target_modules"):
        value = found.get(key) if isinstance(found, dict) else None
        if value != expected[key]:
            raise ExpertError(
                f"{path} says {key} = {short(value, 100)}; {layout.EXPERT} says {expected[key]}. PEFT would load "
                f"another adapter than molex-adapt. {files.RESTORE}"
            )


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
            raise RegistryError(
                f"the embedded base in {folder} has weights sha256 {found[:12]}…; {store.base.sha256[:12]}… was "
                "recorded. Every score would change. Restore the folder from a copy."
            )

    return _problems(compare)


def _leftovers(store: Store) -> list[Path]:
    """Staging rests, and folders that no generation names."""
    experts, generations = store.path / layout.EXPERTS, store.path / layout.GENERATIONS
    found = [rest for folder in (store.path, experts, generations) for rest in atomic.leftovers(folder)]
    record = store.record()
    readable = readable_generations(store)
    numbers = {str(number) for number in record.generations}
    found += [item for item in _items(generations) if item.name not in numbers]
    # With a generation that cannot be read, nobody knows which experts it names: keep them all.
    if len(readable) == len(record.generations):
        names = {name for generation in readable for name in generation.names}
        found += [item for item in _items(experts) if item.name not in names]
    return found


def _items(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [item for item in found if not item.name.startswith(atomic.PREFIX)]


def readable_generations(store: Store) -> list[GenerationRecord]:
    """Records of all generations whose record is whole."""
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
