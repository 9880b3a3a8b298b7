"""Registries in places and at times that make trouble."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from molex_adapt import Registry
from molex_adapt.cli.app import main
from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store, records

from .conftest import HOW, REFUSED, scores, weights
from .durable import draft_of

pytestmark = pytest.mark.durability

CHANGES = ["add-expert", "retrain-router", "remove", "purge", "rollback", "write", "repair"]


def test_a_read_only_registry_is_read_and_refuses_every_change(made, server, tmpfs, capsys):
    disk = tmpfs("size=4m")
    registry = made.copy(disk / "registry")
    (registry / "experts" / ".staging-0123").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for operation in CHANGES:
        before = len(server.said())
        assert server.run(operation, registry, **made.request(operation)) == REFUSED, server.said()
        said = server.said()[before:] or server.said()
        assert any(words in said for words in ("Read-only file system", "cannot be", "may only be read"))
    assert scores(registry, made.audio) == made.scores[weights(registry)]
    store = Store.open(registry)
    assert [name.name for name in store.experts()] == ["buzz", "hum"]
    assert len(store.verify()) == 1, "the leftover"
    for command in (["list"], ["history"], ["show", "hum"], ["reproduce", "hum"]):
        with pytest.raises(SystemExit) as leaving:
            main([*command, "--registry", str(registry), "--json"])
        assert not leaving.value.code
    assert '"hum"' in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES], ids=["read-only", "no permission"])
def test_a_registry_that_may_not_be_written_says_so(made, tmp_path, monkeypatch, number):
    """Without a mount: whatever would be created is refused."""
    store = Store.open(made.copy(tmp_path / "registry"))

    def refuse(*_given, **_more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    for change in (
        lambda: store.remove("hum"),
        lambda: store.rollback(1),
        lambda: store.verify(repair=True),
        lambda: Registry(store).retrain_router(run=HOW),
    ):
        with pytest.raises(RegistryError, match=os.strerror(number)):
            change()
    monkeypatch.undo()
    assert store.verify() == []


NAMES = [
    "mon registre à l'école",
    "登録 簿",
    '-rf ; $(x) "q" #',
    "a\\b%20[1]*?",
    "\u202eevil\u200b",
    "x" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_registry_on_a_path_with_spaces_and_signs(made, server, tmp_path, capsys, name):
    registry = made.copy(tmp_path / name)
    for operation, left in (("write", 3), ("remove", 4), ("rollback", 4), ("repair", 4)):
        assert server.run(operation, registry, **made.request(operation)) == 0, server.said()
        assert len(Store.open(registry).record().generations) == left
    assert Store.open(registry).record().active == 1
    Store.open(registry).activate(3)
    assert scores(registry, made.audio) == made.scores[weights(made.after["add-expert"])]
    for command in (["list"], ["verify"], ["score", *made.audio], ["reproduce", "new"]):
        with pytest.raises(SystemExit) as leaving:
            main([*command, "--registry", str(registry), "--json"])
        assert not leaving.value.code
        assert json.loads(capsys.readouterr().out)


def test_training_on_such_a_path(made, server, tmp_path):
    data = tmp_path / "données «d'école» 登"
    data.symlink_to(made.data)
    registry = made.copy(tmp_path / NAMES[0])
    assert server.run("add-expert", registry, data=str(data), killed_at=["router.json", 1]) == -9
    assert server.run("add-expert", registry, data=str(data), resume=True) == 0, server.said()
    assert weights(registry) == weights(made.after["add-expert"])


def test_a_clock_that_goes_backwards(made, tmp_path, monkeypatch):
    registry = made.copy(tmp_path / "registry")
    tomorrow = time.time() + 86_400
    for path in registry.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    past = (datetime(2001, 1, 1, tzinfo=UTC) - timedelta(days=at) for at in itertools.count())

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return next(past)

    clock = itertools.count(tomorrow, -3600)
    monkeypatch.setattr(records, "datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    store = Store.open(registry)
    number = store.add_generation(draft_of(Store.open(made.after["add-expert"]), 2), activate=True)
    assert number == 3
    assert scores(registry, made.audio) == made.scores[weights(made.after["add-expert"])]
    store.remove("new")
    assert store.rollback(3).number == 3
    assert store.rollback().number == 2
    created = [item.created for item in store.history()]
    assert created[2] > created[3], "the clock did go backwards"
    assert [item.number for item in store.history()] == [1, 2, 3, 4]
    report = Registry.open(registry).retrain_router(run=HOW)
    assert report.generation == 5
    assert all(value >= 0 for value in report.seconds.values())
    assert store.verify() == []
