"""Writing so that a kill at any moment leaves the old state: stage beside the target, fsync, rename, fsync.

Beside the target, because a rename is atomic within one file system only. The file is synced before the rename, or a
crash could leave its new name over no content; the folder after it, or a crash could undo the rename.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of an OSError: there is no more room."""
PREFIX = ".staging-"
"""Names of what is being written; found later, it is the rest of an interrupted write."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A free name beside `path`, with its suffix, to write a file to; it becomes `path` when the block ends.

    After an error in the block, `path` is as it was and the new file is gone. A link at `path` is replaced.

    Args:
        path: where to; its folder must exist.
        durable: survive a power cut as well; without, only a kill. What can be made again needs no more.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full.
    """
    staged = path.with_name(_staging_name() + path.suffix)
    try:
        yield staged
        if durable:
            _sync(staged)
        os.replace(staged, path)
    except OSError as error:
        if error.errno in FULL and error.filename is None:  # a write knows no name
            error.filename = os.fspath(path)
        raise
    finally:
        staged.unlink(missing_ok=True)
    if durable:
        _sync(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file atomically and durably; see `replacing`."""
    with replacing(path) as staged:
        _write(staged, content)


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file that a user named: through a link, and straight into a pipe or a device.

    Args:
        path: where to; its folder must exist. There is nothing to keep whole in a pipe.
        content: text is written as UTF-8.

    Raises:
        OSError: see `replacing`; `path` may be a folder.
        UnicodeEncodeError: the text holds lone surrogates, as of a file name that is not UTF-8.
    """
    body = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(body)
    else:
        replace_file(path.resolve(), body)


@contextmanager
def publishing(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A fresh folder to fill with `put`; it becomes `target`, whole, when the block ends without an error.

    Args:
        target: where to; folders above it are made.
        replace: take the place of a folder that is there. It is deleted last: a kill leaves both whole, at worst under
            names of `leftovers`. Without, `target` must not exist.
    """
    staged = target.with_name(_staging_name())
    staged.mkdir(parents=True)
    try:
        yield staged
        _sync(staged)
        with _aside(target) if replace and target.exists() else nullcontext():
            os.replace(staged, target)
            _sync(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def put(folder: Path, name: str, content: bytes) -> None:
    """Write one new file and fsync it."""
    _write(folder / name, content)
    _sync(folder / name)


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


@contextmanager
def _aside(folder: Path) -> Iterator[None]:
    """Free a folder's name, for no rename replaces a folder; it is deleted once another has its name, else put back."""
    former = folder.with_name(_staging_name())
    os.replace(folder, former)
    try:
        yield
    finally:
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
        else:
            os.replace(former, folder)


def _staging_name() -> str:
    return f"{PREFIX}{secrets.token_hex(6)}"


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
