"""One writer at a time; readers need no lock, since everything they see is immutable or replaced whole."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from molex_adapt.atomic import PREFIX
from molex_adapt.errors import RegistryError
from molex_adapt.registry.records import now

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock-holder"
LOCK_SECONDS = 10.0
"""How long a writer waits for another; writes take well under a second."""

_ELSEWHERE = "Copy it to a folder that you may write to, and use --registry COPY, or change its rights."
_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What file systems say that have no locks, or whose server has none: NFS without lockd, Lustre without -o flock."""


def file_lock(path: Path) -> BaseFileLock:
    """A lock of the file system; where it has none, a file that is there as long as the lock is held."""
    from filelock import FileLock, SoftFileLock

    if not _lacks_locks(path.parent):
        return FileLock(path)
    with suppress(OSError):
        if not path.stat().st_size:  # a lock of the other kind, from when the folder was elsewhere
            path.unlink()
    return SoftFileLock(path)


@contextmanager
def write_lock(folder: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the write lock; RegistryError where another process holds it, or the folder is not writable."""
    from filelock import Timeout

    lock = file_lock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise RegistryError(
            f"registry {folder} is being written by {_holder(folder)}; waited {seconds:g} s for it to finish. "
            f"Try again when that process has ended.{_stale(lock, folder)}"
        ) from None
    except OSError as error:
        raise RegistryError(
            f"registry {folder} cannot be locked for writing: {error.strerror}. {_ELSEWHERE}"
        ) from None
    holder = folder / HOLDER_NAME
    try:
        holder.unlink(missing_ok=True)
        with holder.open("x", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def require_writable(folder: Path) -> None:
    """Refuse, before the work, a registry that its result could not be written to.

    Raises:
        RegistryError: there is no right to write, or the file system is only to be read.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RegistryError(f"registry {folder} may only be read. {_ELSEWHERE}")


def _lacks_locks(folder: Path) -> bool:
    """Whether the file system refuses locks; what else may be wrong with it shows when the lock is taken."""
    try:
        import fcntl
    except ImportError:  # Windows has its own
        return False
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=PREFIX) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _WITHOUT_LOCKS
    return False


def _stale(lock: BaseFileLock, folder: Path) -> str:
    """A file that stands for a lock outlives a process that was killed."""
    from filelock import SoftFileLock

    if not isinstance(lock, SoftFileLock):
        return ""
    return (
        " The file system has no locks, so a killed process leaves a file behind: if none is writing any more, delete "
        f"{folder / LOCK_NAME}."
    )


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER_NAME).read_text(encoding="utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return "another process"
