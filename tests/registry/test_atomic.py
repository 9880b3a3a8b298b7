from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store


class Crash(BaseException):
    """Ends the write where it stands, as a kill would, but lets the test go on."""


class Countdown:
    """Calls through to what it replaces, until the call that fails."""

    def __init__(self, fails_at: int, error: BaseException) -> None:
        self.left = fails_at
        self.error = error

    def wrap(self, function):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise self.error
            return function(*args, **kwargs)

        return call


def fail_at(monkeypatch, step: int, error: BaseException) -> Countdown:
    countdown = Countdown(step, error)
    for name in ("replace", "fsync"):
        monkeypatch.setattr(os, name, countdown.wrap(getattr(os, name)))
    return countdown


def steps_of(store: Store, change) -> int:
    """How many renames and fsyncs a change takes, counted on a copy."""
    copy = store.path.with_name("counted")
    shutil.copytree(store.path, copy)
    with pytest.MonkeyPatch.context() as patch:
        countdown = fail_at(patch, 10**6, Crash())
        change(Store.open(copy))
    shutil.rmtree(copy)
    return 10**6 - countdown.left


CHANGES = {
    "add": lambda store, new: store.add_generation(new, activate=True),
    "remove": lambda store, new: store.remove("opus"),
    "purge": lambda store, new: store.remove("opus", purge=True),
    "rollback": lambda store, new: store.rollback(),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()], ids=["full", "crash"])
def test_failing_at_any_step_leaves_a_whole_state(store, make_expert, make_draft, snapshot, kind, error):
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    new = make_draft(2, "world opus gsm mp3", make_expert("mp3"))
    steps = steps_of(store, lambda copy: CHANGES[kind](copy, new))
    assert steps >= 3
    origin = store.path.with_name("origin")
    shutil.copytree(store.path, origin)
    kept = snapshot(store.path / "experts" / "world")
    for step in range(1, steps + 1):
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, step, error)
            with pytest.raises(RegistryError if isinstance(error, OSError) else Crash):
                CHANGES[kind](store, new)
        after = Store.open(store.path)
        assert len(after.experts()) == len(after.active.names)
        assert not [problem for problem in after.verify() if "interrupted write" not in problem]
        if after.record() == Store.open(origin).record():
            CHANGES[kind](after, new)  # nothing stands in the way of doing it again
            assert after.verify() == []
        else:
            assert kind in ("purge",) or step == steps, "changed before the last step"
        assert snapshot(store.path / "experts" / "world") == kept
        shutil.rmtree(store.path)
        shutil.copytree(origin, store.path)


def test_an_interrupted_creation_can_be_done_again(base, tiny_base_folder, tmp_path):
    from molex_adapt.registry.identity import weights_digest

    record = base.model_copy(update={"embedded": True, "sha256": weights_digest(tiny_base_folder)})
    for step in range(1, 8):
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            countdown = fail_at(patch, step, Crash())
            try:
                Store.create(folder, record, tiny_base_folder)
            except Crash:
                pass
        if countdown.left <= 0 and not (folder / "registry.yaml").exists():
            with pytest.raises(RegistryError, match=r"creation was interrupted"):
                Store.open(folder)
            Store.create(folder, record, tiny_base_folder)
        assert [p for p in Store.open(folder).verify() if "interrupted write" not in p] == []


KILLED = """
import os, sys, time
from molex_adapt.registry import Store

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
    assert after.verify(repair=True) == []
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
