"""Where things lie in a registry, and reading them checked against the hashes that name them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from molex_adapt.errors import ExpertError, MolexError, RegistryError
from molex_adapt.registry import checks, files
from molex_adapt.registry.records import (
    BaseRecord,
    ExpertEntry,
    ExpertRecord,
    ExpertSummary,
    GenerationRecord,
    RegistryRecord,
)

REGISTRY = "registry.yaml"
BASE = "base"
EXPERTS = "experts"
GENERATIONS = "generations"
CHECKPOINTS = ".checkpoints"
"""States of training runs; no part of any generation."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
EXPERT = "expert.yaml"
EXEMPLARS = "exemplars.safetensors"
ROUTING = "routing.safetensors"
CARD = "README.md"

GENERATION = "generation.yaml"
RECIPE = "recipe.yaml"
ROUTER = "router.safetensors"
HEAD = "head.safetensors"
SUMMARIES = "experts.json"


def expert_folder(root: Path, name: str) -> Path:
    """Folder of an expert."""
    return root / EXPERTS / name


def generation_folder(root: Path, number: int) -> Path:
    """Folder of a generation."""
    return root / GENERATIONS / str(number)


def read_registry(root: Path) -> RegistryRecord:
    """registry.yaml as it stands on disk now; RegistryError where missing, damaged, or of another format."""
    path = root / REGISTRY
    try:
        return files.read_record(RegistryRecord, path, root)
    except RegistryError as error:
        # No other command can read it either.
        whole = f"Restore {path} from a copy; nothing else says which generations there are."
        raise RegistryError(str(error).replace(files.RESTORE, whole)) from None


def read_generation(root: Path, number: int) -> GenerationRecord:
    """A generation's record, parsed again only when its file has changed; RegistryError where it is damaged."""
    try:
        found = (generation_folder(root, number) / GENERATION).lstat()
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        stamp = None  # reading it says what is wrong
    return _parse_generation(root, number, stamp)


@lru_cache(maxsize=1000)
def _parse_generation(root: Path, number: int, _stamp: tuple[int, ...] | None) -> GenerationRecord:
    path = generation_folder(root, number) / GENERATION
    record = files.read_record(GenerationRecord, path, root)
    if record.number != number:
        raise RegistryError(f"{path} describes generation {record.number}, not {number}. {files.RESTORE}")
    return record


def find_generation(root: Path, record: RegistryRecord, number: int | None = None) -> GenerationRecord:
    """One generation; None for the active one. RegistryError where there is none, or it is damaged."""
    number = record.active if number is None else number
    if number is None:
        raise RegistryError(
            f"registry {root} has no active generation: no expert was trained yet. "
            f"Train one: molex-adapt add-expert --domain NAME DATA --registry {root}"
        )
    if number not in record.generations:
        known = ", ".join(map(str, record.generations[-20:])) or "none"
        raise RegistryError(
            f"registry {root} has no generation {number}; it has {known}. molex-adapt history --registry {root} "
            "lists them."
        )
    return read_generation(root, number)


def readable_generations(root: Path, record: RegistryRecord) -> list[GenerationRecord]:
    """All generations whose record is whole, oldest first."""
    found = []
    for number in record.generations:
        try:
            found.append(read_generation(root, number))
        except MolexError:
            continue
    return found


def read_recipe(root: Path, record: GenerationRecord) -> str:
    """The resolved recipe of a generation, as YAML; errors as `read_generation_file`."""
    content = read_generation_file(root, record, RECIPE)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        path = generation_folder(root, record.number) / RECIPE
        raise RegistryError(f"{path} is not plain YAML: {error}. {files.RESTORE}") from None


def read_router(root: Path, record: GenerationRecord) -> files.Arrays:
    """`blocks.{l}.rows` (E, D + 1), `.centre` (D,), `.spread` (D,), float32; errors as `read_generation_file`."""
    path = generation_folder(root, record.number) / ROUTER
    router = files.parse_tensors(read_generation_file(root, record, ROUTER), path)
    checks.check_router(router, len(record.experts), str(path))
    return router


def read_head(root: Path, record: GenerationRecord) -> files.Arrays:
    """The head's state; errors as `read_generation_file`."""
    path = generation_folder(root, record.number) / HEAD
    head = files.parse_tensors(read_generation_file(root, record, HEAD), path)
    checks.check_head(head, str(path))
    return head


def read_summaries(root: Path, record: GenerationRecord) -> list[ExpertSummary]:
    """What a listing shows of a generation's experts, in router order; errors as `read_generation_file`."""
    content = read_generation_file(root, record, SUMMARIES)
    return files.parse_summaries(content, generation_folder(root, record.number) / SUMMARIES)


def read_generation_file(root: Path, record: GenerationRecord, name: str) -> bytes:
    """Another file of a generation; RegistryError where missing, changed or not listed."""
    path = generation_folder(root, record.number) / name
    if name not in record.files:
        raise RegistryError(f"{path.parent / GENERATION} records no hash of {name}. {files.RESTORE}")
    content = files.read_bytes(path, root)
    files.require_digest(content, record.files[name], path)
    return content


def read_expert(root: Path, entry: ExpertEntry, base: BaseRecord) -> ExpertRecord:
    """The record of an expert that a generation names; ExpertError where it is another, or of another base."""
    path = expert_folder(root, entry.name) / EXPERT
    record = files.read_record(ExpertRecord, path, root)
    if record.name != entry.name or record.weights_sha256 != entry.sha256:
        raise ExpertError(
            f"{path} describes expert {record.name!r} with weights {str(record.weights_sha256)[:8]}…; the "
            f"generation names {entry.name!r} with {entry.sha256[:8]}…. Restore the folder from a copy."
        )
    checks.check_base(record, base)
    return record


def read_weights(root: Path, record: ExpertRecord) -> files.Arrays:
    """An expert's LoRA matrices, held against its hash and its record."""
    path = expert_folder(root, record.name) / ADAPTER
    weights = files.parse_hashed(files.read_bytes(path, root), str(record.weights_sha256), path)
    checks.check_expert(record, weights, str(path))
    return weights


def read_exemplars(root: Path, record: ExpertRecord) -> files.Arrays | None:
    """What an expert kept of its domain, None where it kept nothing; errors as `read_weights`."""
    return _read_kept(root, record, EXEMPLARS, record.exemplars_sha256, checks.check_exemplars)


def read_routing(root: Path, record: ExpertRecord) -> files.Arrays | None:
    """What routers read of an expert's domain, None where that is not kept; errors as `read_weights`."""
    return _read_kept(root, record, ROUTING, record.routing_sha256, checks.check_routing)


def _read_kept(
    root: Path,
    record: ExpertRecord,
    name: str,
    digest: str | None,
    check: Callable[[files.Arrays, str], None],
) -> files.Arrays | None:
    if digest is None:
        return None
    path = expert_folder(root, record.name) / name
    found = files.parse_hashed(files.read_bytes(path, root), digest, path)
    check(found, str(path))
    return found


def require_own_folders(root: Path) -> None:
    """Refuse, by a RegistryError, to write through links."""
    for folder in (root / EXPERTS, root / GENERATIONS):
        if not folder.exists() or not stat.S_ISDIR(folder.lstat().st_mode):
            raise RegistryError(
                f"{folder} is missing or a link; a registry writes only inside itself. {files.RESTORE}"
            )
