"""Making a new registry folder."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from molex_adapt import atomic
from molex_adapt.errors import DataError, RegistryError
from molex_adapt.outputs import Kind, check_folder
from molex_adapt.registry import files
from molex_adapt.registry.draft import GenerationDraft, generation_files
from molex_adapt.registry.identity import weights_digest
from molex_adapt.registry.layout import BASE, EXPERTS, GENERATIONS, REGISTRY, generation_folder
from molex_adapt.registry.lock import HOLDER_NAME, LOCK_NAME, write_lock
from molex_adapt.registry.records import FORMAT, PUBLISHED, BaseRecord, RegistryRecord

CREATING = f"{atomic.PREFIX}create"
"""Stands in a folder while its registry is being made; with it there, everything else in it is ours."""

_BASE_FILES = ("*.json", "*.safetensors", "*.yaml", "*.md", "LICENSE*")


def create(
    path: Path, base: BaseRecord, embedded_from: Path | None, published: GenerationDraft | None = None
) -> None:
    """Make a registry in a free folder, the base copied where it is embedded; `registry.yaml` appears last.

    It is empty, or has one generation: a published detector on that base.
    """
    if published is not None:
        published.check()
    if base.embedded != (embedded_from is not None):
        raise RegistryError(
            f"base {base} is marked {'embedded' if base.embedded else 'not embedded'}, but the folder to copy is "
            f"{embedded_from}; give a folder exactly for an embedded base"
        )
    with _making(path, f"registry {path} cannot be made"):
        for name in (EXPERTS, GENERATIONS):
            (path / name).mkdir()
        if embedded_from is not None:
            _copy_base(embedded_from, path, base)
        if published is not None:
            _, content = generation_files(published, PUBLISHED, [])
            with atomic.publishing(generation_folder(path, PUBLISHED)) as staged:
                for name, body in content.items():
                    atomic.put(staged, name, body)
        numbers = [] if published is None else [PUBLISHED]
        record = RegistryRecord(
            format=FORMAT, base=base, active=numbers[0] if numbers else None, generations=numbers
        )
        atomic.replace_file(path / REGISTRY, files.dump_record(record))


def copy(source: Path, path: Path) -> None:
    """Copy a whole registry, generations and all, into a free folder; `registry.yaml` appears last."""
    with _making(path, f"registry {source} cannot be copied to {path}"):
        for name in (BASE, EXPERTS, GENERATIONS):
            if (source / name).is_dir():
                shutil.copytree(source / name, path / name)
        atomic.replace_file(path / REGISTRY, (source / REGISTRY).read_bytes())


def require_free(path: Path) -> None:
    """Refuse, by a RegistryError, a folder that holds anything, or a file."""
    if (path / REGISTRY).exists():
        raise RegistryError(
            f"{path} already holds a registry. Use it, or choose another folder by --registry."
        )
    try:
        check_folder(path, _BEGUN)
    except DataError as error:
        raise RegistryError(f"{error} A new registry's folder is named by --registry.") from None


def _is_begun(path: Path) -> bool:
    names = {item.name for item in path.iterdir()}
    left = {name for name in names if name.startswith(atomic.PREFIX)}  # by a creation that was killed
    return CREATING in names or names - left <= {LOCK_NAME, HOLDER_NAME}


_BEGUN = Kind("the beginning of a registry", _is_begun)


@contextmanager
def _making(path: Path, failed: str) -> Iterator[None]:
    """A free folder, emptied of what a killed creation left, and swept once its registry is there."""
    require_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with write_lock(path):
            require_free(path)
            (path / CREATING).mkdir(exist_ok=True)
            for name in (BASE, EXPERTS, GENERATIONS):
                atomic.discard(path / name)
            yield
            for rest in atomic.leftovers(path):
                atomic.discard(rest)
    except OSError as error:
        raise RegistryError(f"{failed}: {error}. Choose a folder you may write to.") from None


def _copy_base(source: Path, registry: Path, base: BaseRecord) -> None:
    with atomic.publishing(registry / BASE) as staged:
        for item in sorted(source.iterdir()) if source.is_dir() else []:
            if item.is_file() and any(fnmatch.fnmatch(item.name, kind) for kind in _BASE_FILES):
                atomic.put(staged, item.name, item.read_bytes())
        names = sorted(item.name for item in staged.iterdir())
        if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
            raise RegistryError(
                f"{source} cannot be embedded as a base: it offers {', '.join(names) or 'nothing'}. "
                "Give a folder with config.json and model.safetensors."
            )
        found = weights_digest(staged)
        if found != base.sha256:
            raise RegistryError(
                f"the weights in {source} have sha256 {found[:12]}…, but base {base.id} is recorded with "
                f"{base.sha256[:12]}…. Give the folder that the base was loaded from."
            )
