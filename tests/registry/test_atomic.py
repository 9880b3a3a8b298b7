from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store, create


class Killed(BaseException):
    """Ends a write where it stands; with `dead`, nothing later reaches the disk either, cleaning up included."""


class Countdown:
    """Lets calls through until one fails."""

    def __init__(self, fails_at: int, error: BaseException, dead: bool) -> None:
        self.left, self.error, self.dead = fails_at, error, dead

    def counted(self, function):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise self.error
            return self.alive(function)(*args, **kwargs)

        return call

    def alive(self, function):
        def call(*args, **kwargs):
            if self.left <= 0 and self.dead:
                raise self.error
            return function(*args, **kwargs)

        return call


def fail_at(patch: pytest.MonkeyPatch, step: int, error: BaseException, dead: bool) -> Countdown:
    """Fail at the `step`th rename or fsync."""
    countdown = Countdown(step, error, dead)
    for name in ("unlink", "rmdir", "mkdir"):
        patch.setattr(os, name, countdown.alive(getattr(os, name)))
    for name in ("replace", "fsync"):
        patch.setattr(os, name, countdown.counted(getattr(os, name)))
    return countdown


def count_steps(store: Store, change) -> int:
    """How many renames and fsyncs a change takes."""
    with pytest.MonkeyPatch.context() as patch:
        countdown = fail_at(patch, 10**6, Killed(), dead=False)
        change(store)
    return 10**6 - countdown.left


CHANGES = {
    "add": lambda store, new: store.add_generation(new, activate=True),
    "remove": lambda store, _: store.remove("opus"),
    "purge": lambda store, _: store.remove("opus", purge=True),
    "rollback": lambda store, _: store.rollback(),
}
FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("add", FULL), ("add", Killed()), ("remove", Killed()), ("purge", Killed()), ("rollback", Killed())],
    ids=["add-full", "add-killed", "remove-killed", "purge-killed", "rollback-killed"],
)
def test_failing_at_any_step_leaves_a_whole_state(store, make_expert, make_draft, snapshot, kind, error):
    store.add_generation(make_draft(1, "world opus", head={"w": np.ones(3, np.float32)}), activate=True)
    change, new = CHANGES[kind], make_draft(2, "world opus gsm", make_expert("gsm", kept=False))
    world, before = snapshot(store.path / "experts" / "world"), store.record()

    def copied(name: str) -> Store:
        return Store.open(shutil.copytree(store.path, store.path.with_name(name), copy_function=shutil.copy2))

    steps = count_steps(copied("counted"), lambda copy: change(copy, new))
    assert steps >= 3
    undone = 0
    for step in range(1, steps + 1):
        broken = copied(f"step{step}")
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, step, error, dead=error is not FULL)
            with pytest.raises(RegistryError if error is FULL else Killed):
                change(broken, new)
        problems = broken.verify()
        assert not [problem for problem in problems if "interrupted write" not in problem]
        assert snapshot(broken.path / "experts" / "world") == world
        if broken.record() == before:
            undone += 1
            assert error is not FULL or not problems, "an error that could be handled leaves nothing behind"
            change(broken, new)  # nothing stands in the way of doing it again
        assert broken.verify(repair=True) == []
    assert undone == steps - 1 if kind != "purge" else 0 < undone < steps, "real by the last rename alone"


def test_an_interrupted_creation_can_be_done_again(base, tiny_base_folder, tmp_path):
    from molex_adapt.registry.identity import weights_digest

    record = base.model_copy(update={"embedded": True, "sha256": weights_digest(tiny_base_folder)})
    interrupted = 0
    for step in range(1, 8):
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            countdown = fail_at(patch, step, Killed(), dead=True)
            with suppress(Killed):
                Store.create(folder, record, tiny_base_folder)
        if countdown.left <= 0 and not (folder / "registry.yaml").exists():
            with pytest.raises(RegistryError, match=r"creation was interrupted"):
                Store.open(folder)
            Store.create(folder, record, tiny_base_folder)
            interrupted += 1
        assert Store.open(folder).verify() == []
    assert interrupted >= 5


@pytest.mark.parametrize("way", ["create", "copy"])
def test_a_creation_killed_while_it_tried_the_folder_can_be_done_again(store, base, tmp_path, way):
    folder = tmp_path / "new"
    folder.mkdir()
    for name in (".lock", ".lock-holder", ".staging-tried"):
        (folder / name).touch()
    if way == "create":
        Store.create(folder, base.model_copy(update={"embedded": False}))
    else:
        create.copy(store.path, folder)
    assert Store.open(folder).verify() == []
    assert not (folder / ".staging-tried").exists()


KILLED = """
import os, sys, time
from molex_adapt.registry import Store, create

store = Store.open(sys.argv[1])
replace, seen = os.replace, 0

def stop(source, target):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        print("there", flush=True)
        time.sleep(60)
    replace(source, target)

os.replace = stop
store.remove("world", purge=True)
"""


@pytest.mark.parametrize("rename", [1, 2, 4])
def test_a_killed_process_leaves_a_whole_registry_and_no_lock(store, snapshot, rename):
    """The renames of a purge: generation folder, registry.yaml twice, then folders out of the way."""
    opus = snapshot(store.path / "experts" / "opus")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.path), str(rename)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
    after = Store.open(store.path)
    after.lock_seconds = 0.1
    assert after.active.names == (["world", "opus"] if rename < 3 else ["opus"])
    problems = after.verify()
    assert problems
    assert all("interrupted write" in problem for problem in problems)
    left = after.verify(repair=True)  # a generation that is whole may be deleted by a person alone
    assert left == ([problem for problem in problems if "is whole" in problem] if rename == 2 else [])
    assert snapshot(store.path / "experts" / "opus") == opus
    if rename < 3:
        after.remove("world")
    assert after.active.names == ["opus"]
    assert after.verify() == []


def test_what_an_interrupted_write_left_is_swept_by_the_next(store, make_expert, make_draft):
    for place in ("", "experts", "generations"):
        (store.path / place / ".staging-0123").mkdir()
    (store.path / "generations" / "2").mkdir()  # renamed, but registry.yaml was not reached
    (store.path / "experts" / "gsm").mkdir()
    assert len(store.verify()) == 5
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    assert store.verify() == []


def test_repair_touches_nothing_that_is_named(store, snapshot):
    before = snapshot(store.path)
    Path(store.path / "experts" / ".staging-0123").touch()
    assert store.verify(repair=True) == []
    assert snapshot(store.path) == before


def test_everything_is_on_disk_before_the_rename_that_makes_it_real(
    store, make_expert, make_draft, monkeypatch
):
    synced: list[int] = []
    before_activation: list[set[int]] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    def note_rename(source, target):
        if Path(target).name == "registry.yaml":
            before_activation.append({*synced})
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    (done,) = before_activation
    for new in (store.path / "experts/gsm", store.path / "generations/2"):
        for path in (new.parent, new, *new.iterdir()):
            assert path.stat().st_ino in done, path
    assert (store.path / "registry.yaml").stat().st_ino in done
    assert synced[-1] == store.path.stat().st_ino
