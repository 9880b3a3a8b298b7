"""Where things lie in a registry, and reading them checked against the hashes that name them."""

from __future__ import annotations

import stat
from pathlib import Path

from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import checks, files
from molex_adapt.registry.records import BaseRecord, ExpertEntry, ExpertRecord, GenerationRecord

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


def read_generation(root: Path, number: int) -> GenerationRecord:
    """A generation's record.

    Raises:
        RegistryError: missing, damaged, or that of another generation.
    """
    path = generation_folder(root, number) / GENERATION
    record = files.read_record(GenerationRecord, path, root)
    if record.number != number:
        raise RegistryError(f"{path} describes generation {record.number}, not {number}. {files.RESTORE}")
    return record


def read_generation_file(root: Path, record: GenerationRecord, name: str) -> bytes:
    """Another file of a generation, unchanged since it was written.

    Raises:
        RegistryError: missing, changed, or not listed.
    """
    path = generation_folder(root, record.number) / name
    if name not in record.files:
        raise RegistryError(f"{path.parent / GENERATION} records no hash of {name}. {files.RESTORE}")
    return _read_hashed(path, root, record.files[name])


def read_expert(root: Path, entry: ExpertEntry, base: BaseRecord) -> ExpertRecord:
    """The record of an expert that a generation names.

    Raises:
        RegistryError: missing or damaged.
        ExpertError: it describes another expert, or one of another base.
    """
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
    """An expert's LoRA matrices.

    Raises:
        RegistryError: missing or changed.
        ExpertError: not what the record says.
    """
    path = expert_folder(root, record.name) / ADAPTER
    weights = files.parse_tensors(_read_hashed(path, root, str(record.weights_sha256)), path)
    checks.check_expert(record, weights, str(path))
    return weights


def read_exemplars(root: Path, record: ExpertRecord) -> files.Arrays | None:
    """What an expert kept of its domain, None where it kept nothing; errors as `read_weights`."""
    path = expert_folder(root, record.name) / EXEMPLARS
    if record.exemplars_sha256 is None:
        return None
    exemplars = files.parse_tensors(_read_hashed(path, root, record.exemplars_sha256), path)
    checks.check_exemplars(exemplars, str(path))
    return exemplars


def require_own_folders(root: Path) -> None:
    """Refuse to write through links.

    Raises:
        RegistryError: experts/ or generations/ is missing or no folder of the registry's own.
    """
    for folder in (root / EXPERTS, root / GENERATIONS):
        if not folder.exists() or not stat.S_ISDIR(folder.lstat().st_mode):
            raise RegistryError(
                f"{folder} is missing or a link; a registry writes only inside itself. {files.RESTORE}"
            )


def _read_hashed(path: Path, root: Path, digest: str) -> bytes:
    content = files.read_bytes(path, root)
    files.require_digest(content, digest, path)
    return content
