"""One writer at a time; readers need no lock, since everything they see is immutable or replaced whole."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from molex_adapt.errors import RegistryError
from molex_adapt.registry.records import now

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock-holder"
LOCK_SECONDS = 10.0
"""How long a writer waits for another; writes take well under a second."""


@contextmanager
def write_lock(folder: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the write lock; RegistryError where another process holds it, or the folder is not writable."""
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise RegistryError(
            f"registry {folder} is being written by {_holder(folder)}; waited {seconds:g} s for it to finish. "
            "Try again when that process has ended."
        ) from None
    except OSError as error:
        raise RegistryError(
            f"registry {folder} cannot be locked for writing: {error.strerror}. "
            "Copy it to a folder that you may write to, and use --registry COPY."
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


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER_NAME).read_text(encoding="utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return "another process"
