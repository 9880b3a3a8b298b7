"""A registry that is being written, is not there, or has files where folders belong."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from molex_adapt.registry import store

ADD = ("add-expert", "--accept", "--domain", "hum")


HOLD = """
import sys, time
from pathlib import Path
from molex_adapt.registry.lock import write_lock
with write_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(world) -> Iterator[int]:
    """Another process is writing; its number."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(world.registry)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("arguments", [["rollback"], ["remove", "buzz"], [*ADD, "HUM"], ["retrain-router"]])
def test_a_registry_that_another_process_writes(world, held, attempt, tree, monkeypatch, arguments):
    monkeypatch.setattr(store.Store.__init__, "__defaults__", (0.2,))
    before = tree(world.registry)
    status, out, err = attempt(arguments)
    assert (status, out) == (1, "")
    assert re.search(rf"registry is being written by process {held} on .*Try again", " ".join(err.split())), (
        err
    )
    assert tree(world.registry) == before
    assert attempt(["list"])[0] == 0  # who reads does not wait


@pytest.mark.parametrize("command", [["list"], ["score", "HUM"], [*ADD, "HUM"], ["verify"]])
def test_no_registry_there(world, attempt, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "400")
    status, _, err = attempt([*command, "--registry", str(world.at / "none")])
    assert status == 1
    assert "none holds no registry" in err
    assert "molex-adapt init embedded --registry" in err
    assert not (world.at / "none").exists()
    blocked = world.text("file", "")
    status, _, err = attempt([*command, "--registry", str(blocked)])
    assert status == 2
    assert f"'{blocked}' is a file" in err


@pytest.mark.parametrize("blocked", ["experts/hum", "generations/3"])
def test_a_file_where_a_folder_has_to_go(world, attempt, tree, blocked):
    """An interrupted write may have left it: it gives way, and the old generations stay as they were."""
    (world.registry / blocked).write_text("in the way")
    before = tree(world.registry)
    del before[blocked]
    status, _, err = attempt([*ADD, "HUM", "--set", "gate.tolerance=1"])
    assert status == 0, err
    after = tree(world.registry)
    assert {name for name in before if after[name] != before[name]} == {"registry.yaml"}
    assert (world.registry / blocked).is_dir()


def test_folders_of_the_registry_that_are_files(world, attempt, tree):
    shutil.rmtree(world.registry / "experts")
    (world.registry / "experts").write_text("in the way")
    before = tree(world.registry)
    status, _, err = attempt([*ADD, "HUM"])
    assert status == 1
    assert "experts" in err
    assert tree(world.registry) == before
