"""Whether everything in a registry is what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from molex_adapt import atomic
from molex_adapt.errors import MolexError, RegistryError
from molex_adapt.recipe import Recipe, validate
from molex_adapt.registry import checkpoints, files, layout
from molex_adapt.registry.draft import check_adapter_config, summaries
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.layout import HEAD, RECIPE, ROUTER, SUMMARIES
from molex_adapt.registry.lock import write_lock
from molex_adapt.registry.records import BaseRecord, ExpertEntry, GenerationRecord, RegistryRecord
from molex_adapt.witnesses import PREFIX

_MOST_CONFIG_BYTES = 2**20


def verify(root: Path, repair: bool, lock_seconds: float) -> list[str]:
    """See `Store.verify`."""
    if repair:
        _repair(root, lock_seconds)
    record = layout.read_registry(root)
    problems = _problems(lambda: _check_base(root, record.base))
    for number in record.generations:
        problems += _problems(lambda number=number: layout.read_generation(root, number))  # type: ignore[misc]
    seen: dict[str, None] = {}
    for generation in layout.readable_generations(root, record):
        seen |= dict.fromkeys(generation_problems(root, record.base, generation))
    problems += list(seen)
    unnamed = _unnamed(root, record)
    problems += [_told_of(rest, unnamed.get(rest), root) for rest in _leftovers(root, record)]
    return problems


def _unnamed(root: Path, record: RegistryRecord) -> dict[Path, int]:
    """Folders of whole generations that came after all that registry.yaml names, with their number.

    It may be an older copy. Those between them were purged.
    """
    numbers = {int(item.name) for item in _items(root / layout.GENERATIONS) if item.name.isdecimal()}
    newest = max(record.generations, default=0)
    found: dict[Path, int] = {}
    for number in sorted(number for number in numbers if number > newest):
        try:
            generation = layout.read_generation(root, number)
        except MolexError:
            continue
        if not generation_problems(root, record.base, generation):
            folders = [layout.expert_folder(root, name) for name in generation.names]
            found |= dict.fromkeys([layout.generation_folder(root, number), *folders], number)
    return found


def _told_of(rest: Path, number: int | None, root: Path) -> str:
    """`number` is that of the whole generation that it belongs to, if there is one."""
    if number is None:
        repair = f"molex-adapt verify --repair --registry {root}"
        return f"{rest} was left by an interrupted write. Delete it by {repair}."
    return (
        f"{rest} belongs to generation {number}, which is whole, but registry.yaml does not name it: an interrupted "
        f"write left it, or registry.yaml is an older copy. In that case add {number} to its `generations`; else "
        "delete the folder."
    )


def _repair(root: Path, lock_seconds: float) -> None:
    layout.require_own_folders(root)
    try:
        with write_lock(root, lock_seconds):
            record = layout.read_registry(root)
            unnamed = _unnamed(root, record)
            for rest in _leftovers(root, record):
                if rest not in unnamed:
                    atomic.discard(rest)
            checkpoints.clear(root)
    except OSError as error:
        raise RegistryError(
            f"leftovers in registry {root} cannot be deleted: {error}. Check permissions there."
        ) from None


def generation_problems(root: Path, base: BaseRecord, generation: GenerationRecord) -> list[str]:
    """Faults of one generation and of its experts."""
    problems = []
    if set(generation.files) != {RECIPE, ROUTER, HEAD, SUMMARIES}:
        problems.append(
            f"generation {generation.number} of {root} lists files {sorted(generation.files)}. {files.RESTORE}"
        )
    problems += _problems(
        lambda: _check_summaries(root, base, generation),
        lambda: layout.read_recipe(root, generation),
        lambda: layout.read_router(root, generation),
        lambda: _check_readout(root, generation),
    )
    for entry in generation.experts:
        problems += _expert_problems(root, base, entry)
    return list(dict.fromkeys(problems))


def _expert_problems(root: Path, base: BaseRecord, entry: ExpertEntry) -> list[str]:
    return _problems(
        lambda: layout.read_weights(root, layout.read_expert(root, entry, base)),
        lambda: layout.read_exemplars(root, layout.read_expert(root, entry, base)),
        lambda: layout.read_routing(root, layout.read_expert(root, entry, base)),
        lambda: _check_adapter_config(root, base, entry),
    )


def _check_readout(root: Path, generation: GenerationRecord) -> None:
    head = layout.read_head(root, generation)
    where = layout.generation_folder(root, generation.number)
    content = files.parse_yaml(layout.read_recipe(root, generation).encode(), where / RECIPE)
    stated = validate(Recipe, content, str(where / RECIPE), stored=True).head.readout
    if stated != any(name.startswith(PREFIX) for name in head):
        said, held = ("a readout", "none") if stated else ("no readout", "one")
        raise RegistryError(
            f"{where / RECIPE} says that there is {said}, {where / HEAD} has {held}. {files.RESTORE}"
        )


def _check_summaries(root: Path, base: BaseRecord, generation: GenerationRecord) -> None:
    found = layout.read_generation_file(root, generation, SUMMARIES)
    if found != summaries([layout.read_expert(root, entry, base) for entry in generation.experts]):
        path = layout.generation_folder(root, generation.number) / SUMMARIES
        raise RegistryError(f"{path} does not say what the experts' own records say. {files.RESTORE}")


def _check_adapter_config(root: Path, base: BaseRecord, entry: ExpertEntry) -> None:
    path = layout.expert_folder(root, entry.name) / layout.ADAPTER_CONFIG
    record = layout.read_expert(root, entry, base)
    found = files.parse_json(files.read_bytes(path, root, _MOST_CONFIG_BYTES), path)
    check_adapter_config(record, found, str(path))


def _check_base(root: Path, base: BaseRecord) -> None:
    if not base.embedded:
        return
    folder = root / layout.BASE
    files.require_plain(folder / "config.json", root)
    for path in sorted(folder.glob("*.safetensors")):
        files.require_plain(path, root)
    if not any(folder.glob("*.safetensors")):
        raise RegistryError(f"the embedded base in {folder} has no weights. {files.RESTORE}")
    found = weights_digest(folder)
    if found != base.sha256:
        raise RegistryError(
            f"the embedded base in {folder} has weights sha256 {found[:12]}…; {base.sha256[:12]}… was "
            "recorded. Every score would change. Restore the folder from a copy."
        )


def _leftovers(root: Path, record: RegistryRecord) -> list[Path]:
    """Staging rests, and folders that no generation names."""
    experts, generations = root / layout.EXPERTS, root / layout.GENERATIONS
    found = [rest for folder in (root, experts, generations) for rest in atomic.leftovers(folder)]
    readable = layout.readable_generations(root, record)
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


def _problems(*steps: Callable[[], object]) -> list[str]:
    found = []
    for step in steps:
        try:
            step()
        except MolexError as error:
            found.append(str(error))
    return found
