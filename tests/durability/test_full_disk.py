"""A disk that is full at each write of each change."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from molex_adapt import atomic
from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store

from .conftest import KILLS, REFUSED, weights
from .durable import draft_of

pytestmark = pytest.mark.durability

PAGE = os.sysconf("SC_PAGE_SIZE")


def leave(folder: Path, pages: int) -> None:
    """Fill a disk up to so many free pages."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    free = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bfree * free.f_frsize - pages * PAGE)


@pytest.mark.parametrize(
    "operation", ["write", "remove", "purge", "rollback", "retrain-router", "add-expert"]
)
def test_a_full_disk_at_each_write(made, server, whole, tmpfs, operation):
    disk = tmpfs("size=4m")
    request, trained = made.request(operation), operation in ("retrain-router", "add-expert")
    refused, pages, step = 0, 0, 1 if KILLS >= 200 else 6 if operation == "add-expert" else 3
    while True:
        registry = made.copy(disk / "registry")
        leave(disk, pages)
        status = server.run(operation, registry, **request)
        (disk / "ballast").unlink()
        assert status in (0, REFUSED), f"{pages} pages free: {server.said()}"
        assert whole(registry, operation, tidy=not trained) == (status == 0)
        shutil.rmtree(registry)
        if status == 0:
            break
        refused, pages = refused + 1, pages + step
        assert pages < 500
    assert refused >= (1 if operation == "rollback" else 3)


def test_a_failing_disk_at_each_write_call(made, tmp_path, monkeypatch):
    """Without a disk of its own: half of a file is written, then there is no more room."""
    source = Store.open(made.after["add-expert"])
    write, left = atomic._write, 0

    def fail(path: Path, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(atomic, "_write", fail)
    for step in range(1, 99):
        store = Store.open(made.copy(tmp_path / str(step)))
        left, said = step, ""
        try:
            store.add_generation(draft_of(source, 2), activate=True)
        except RegistryError as error:
            said = str(error)
        assert store.verify() == []
        if left > 0:
            break
        assert "No space left" in said and "is whole" in said
        assert weights(store.path) == weights(made.path)
    assert step > 8
    assert weights(store.path) == weights(made.after["add-expert"])
