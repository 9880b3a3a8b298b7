"""Writing so that a crash at any moment leaves the old state: stage beside the target, fsync, rename, fsync."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".staging-"
"""Names of what is being written; found later, it is the rest of an interrupted write."""


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file atomically and durably."""
    staged = path.with_name(_staging_name())
    try:
        _write(staged, content)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """A fresh folder to fill with `put`; it becomes `target`, whole, when the block ends without an error.

    `target` must not exist.
    """
    staged = target.with_name(_staging_name())
    staged.mkdir(parents=True)
    try:
        yield staged
        sync_folder(staged)
        os.replace(staged, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def put(folder: Path, name: str, content: bytes) -> None:
    """Write one new file and fsync it."""
    _write(folder / name, content)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def leftovers(folder: Path) -> list[Path]:
    """What interrupted writes left in a folder."""
    return sorted(folder.glob(f"{PREFIX}*")) if folder.is_dir() else []


def discard(path: Path) -> None:
    """Delete a file or folder for good; a folder first loses its name, so that it is never half there."""
    if path.is_dir() and not path.is_symlink():
        doomed = path.with_name(_staging_name())
        os.replace(path, doomed)
        shutil.rmtree(doomed)
    elif os.path.lexists(path):  # a file, a link, or what has no business there, such as a pipe
        path.unlink()


def _staging_name() -> str:
    return f"{PREFIX}{secrets.token_hex(6)}"


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
