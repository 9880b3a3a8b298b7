"""`kill -9` at random moments of everything that changes a registry.

A moment is a random change on disk, and a random time after it up to the next one.
"""

from __future__ import annotations

import shutil

import pytest

from molex_adapt.registry import Store

from .conftest import KILLS, weights

pytestmark = pytest.mark.durability

OPERATIONS = ["add-expert", "pull", "remove", "purge", "rollback", "retrain-router", "write"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_leaves_the_old_state_or_the_new_one(
    made, server, whole, chance, tmp_path, record_property, operation
):
    request = made.request(operation)
    gaps = server.events_of(operation, made.copy(tmp_path / "watched"), **request)
    assert len(gaps) >= 5
    kills = done = 0
    while kills < -(-KILLS // len(OPERATIONS)):
        registry = made.copy(tmp_path / f"{operation}")
        event = chance.randrange(len(gaps) + 1)
        delay = chance.uniform(0, gaps[event] if event < len(gaps) else 0.001)
        where = f"killed {1000 * delay:.2f} ms after change {event} of {len(gaps)}"
        if server.kill_at(event, delay, operation, registry, **request):
            kills += 1
            again = shutil.copytree(registry, tmp_path / "again")
            after = whole(registry, operation)
            done += after
            if not after:  # nothing stands in the way of doing it again, before repair as well as after it
                for path, resume in ((again, True), (registry, False)):
                    status = server.run(operation, path, **request, resume=resume)
                    assert status == 0, f"{where}: {server.said()}"
                    assert weights(path) == weights(made.after[operation]), where
                    assert Store.open(path).verify() == [], where
            shutil.rmtree(again)
        shutil.rmtree(registry)
    record_property("kills", kills)
    record_property("after", done)


def test_a_killed_creation_can_be_done_again(made, server, chance, tmp_path):
    gaps = server.events_of("create", tmp_path / "watched", source=str(made.path))
    kills = 0
    while kills < -(-KILLS // len(OPERATIONS)):
        registry = tmp_path / "registry"
        event = chance.randrange(len(gaps))
        if server.kill_at(event, chance.uniform(0, gaps[event]), "create", registry, source=str(made.path)):
            kills += 1
            if not (registry / "registry.yaml").exists():
                assert server.run("create", registry, source=str(made.path)) == 0, server.said()
            assert Store.open(registry).verify(repair=True) == []
            assert weights(registry) == weights(made.path)
        shutil.rmtree(registry, ignore_errors=True)
