from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.registry.lock import write_lock

HOLD = """
import sys
from pathlib import Path
from molex_adapt.registry.lock import write_lock

with write_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_writes_and_readers_do_not_wait(store, make_expert, make_draft):
    store.lock_seconds = 0.1
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        for change in (
            lambda: store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True),
            lambda: store.activate(1),
            lambda: store.remove("world"),
            lambda: store.verify(repair=True),
        ):
            with pytest.raises(RegistryError, match=rf"written by process {process.pid} on .*waited 0.1 s"):
                change()
        assert store.verify() == []
        assert [expert.name for expert in store.experts()] == ["world", "opus"]
        process.communicate("")
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)


def test_the_lock_holds_inside_one_process_too(store):
    store.lock_seconds = 0.1
    with write_lock(store.path), pytest.raises(RegistryError, match=f"process {os.getpid()}"):
        store.remove("world")


def test_a_planted_link_is_not_written_through(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (store.path / ".lock-holder").symlink_to(precious)
    store.remove("world")
    assert precious.read_text() == "mine"


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    """A file system that refuses locks, as NFS and Lustre may."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.filterwarnings("error")
def test_where_there_are_no_locks_a_file_stands_for_one(store, without_locks):
    store.lock_seconds = 0.1
    before = set(store.path.iterdir())
    with (
        write_lock(store.path),
        pytest.raises(RegistryError, match=rf"process {os.getpid()} on .*has no locks.*delete .*\.lock"),
    ):
        store.remove("world")
    store.remove("world")
    assert set(store.path.iterdir()) - before == set()
    assert not (store.path / ".lock").exists()


def test_an_empty_lock_from_another_file_system_is_no_hold(store, without_locks):
    (store.path / ".lock").touch()
    store.lock_seconds = 0.1
    store.remove("world")
    assert not (store.path / ".lock").exists()
