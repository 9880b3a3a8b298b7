"""Several processes that write one registry at once, and others that read it."""

from __future__ import annotations

import pytest

from molex_adapt.registry import Store

from .conftest import REFUSED, scores, weights

pytestmark = pytest.mark.durability


@pytest.mark.parametrize("writers", [2, 4])
def test_writers_take_turns_and_readers_see_whole_states(made, server, tmp_path, writers):
    registry = made.copy(tmp_path / "registry")
    source = str(made.after["add-expert"])
    until = tmp_path / "done"
    reader = server.start("read on", registry, audio=made.audio, until=str(until), out=str(tmp_path / "read"))
    more = {"source": source, "count": 12, "fewest": 2}
    started = [
        server.start("at random", registry, seed=at, out=str(tmp_path / f"made{at}"), **more)
        for at in range(writers)
    ]
    ends = [server.wait(pid) for pid in started]
    until.touch()
    assert ends == [0] * writers, server.said()
    assert server.wait(reader) == 0, server.said()
    assert int((tmp_path / "read").read_text()) >= 1
    counts = [int((tmp_path / f"made{at}").read_text()) for at in range(writers)]
    store = Store.open(registry)
    assert store.verify() == []
    assert store.record().generations == list(range(1, 3 + sum(counts))), (
        "every change that was made, and no other"
    )
    assert min(counts) >= 2
    assert all(isinstance(score, float) for score in scores(registry, made.audio))


@pytest.mark.parametrize("writers", [2, 4])
def test_of_several_trainings_the_first_wins_and_the_others_are_told(made, server, tmp_path, writers):
    registry = made.copy(tmp_path / "registry")
    started = [
        server.start("add-expert", registry, data=str(made.data), domain=f"new-{at}") for at in range(writers)
    ]
    ends = [server.wait(pid) for pid in started]
    assert sorted(ends) == [0] + [REFUSED] * (writers - 1), server.said()
    assert "another writer was first" in server.said()
    store = Store.open(registry)
    (won,) = set(store.generation().names) - {"buzz", "hum"}
    assert won == f"new-{ends.index(0)}"
    assert store.record().generations == [1, 2, 3]
    assert store.verify(repair=True) == []
    assert weights(registry)[:2] == weights(made.path)[:2]
