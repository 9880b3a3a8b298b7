"""Training that was killed goes on, and ends with the bits of a run that never stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from molex_adapt import Registry
from molex_adapt.errors import RegistryError
from molex_adapt.registry import Store

from .conftest import HOW, REFUSED, weights

pytestmark = pytest.mark.durability

MOMENTS = {
    "before the first checkpoint": ("run.json", 1, None),
    "in the expert stage": ("expert.json", 3, "expert stage: resumed after step 2"),
    "at the end of the expert stage": ("expert.json", 5, "expert stage: resumed after step 4"),
    "between the stages": ("router.json", 1, "expert stage: resumed after step 4"),
    "in the router stage": ("router.json", 3, "router stage: resumed after step 2"),
    "before the expert's folder is there": ("new", 1, "router stage: resumed after step 4"),
    "before the generation's folder is there": ("3", 1, "router stage: resumed after step 4"),
    "before it is active": ("registry.yaml", 1, "router stage: resumed after step 4"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_resumed(made, server, whole, tmp_path, moment):
    name, count, said = MOMENTS[moment]
    registry, request = made.copy(tmp_path / "registry"), made.request("add-expert")
    assert server.run("add-expert", registry, **request, killed_at=[name, count]) == -9, server.said()
    before = server.said()
    assert server.run("add-expert", registry, **request, resume=True) == 0, server.said()
    new = server.said()[len(before) :] if server.said().startswith(before) else server.said()
    assert said is None or said in new
    assert weights(registry) == weights(made.after["add-expert"])
    assert not (registry / ".checkpoints").exists()
    assert whole(registry, "add-expert", tidy=True)


def test_the_state_of_another_run_is_refused(made, server, tmp_path):
    registry, request = made.copy(tmp_path / "registry"), made.request("add-expert")
    assert server.run("add-expert", registry, **request, killed_at=["router.json", 2]) == -9
    opened = Registry.open(registry)
    recipe = opened.recipe()
    other = recipe.model_copy(update={"expert": recipe.expert.model_copy(update={"steps": 9})})
    tries = {
        "seed: 0 there, 5 now": {"run": replace(HOW, seed=5, resume=True)},
        "experts: new for new there, more for more now": {"domain": "more"},
        "recipe expert.steps: 4 there, 9 now": {"recipe": other},
    }
    for message, change in tries.items():
        how = {"domain": "new", "run": replace(HOW, resume=True), **change}
        with pytest.raises(
            RegistryError, match=f"(?s)no checkpoint of this run.*{message}.*without --resume"
        ):
            opened.add_expert(made.data, **how)
    path = sorted((made.data / "spoof" / "new").iterdir())[0]
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-400] + bytes(400))
        with pytest.raises(RegistryError, match=r"(?s)data: \w+\.* there, \w+\.* now"):
            opened.add_expert(made.data, accept=True, domain="new", run=replace(HOW, resume=True))
    finally:
        path.write_bytes(content)
    opened.store.rollback(1)
    with pytest.raises(RegistryError, match="(?s)parent generation: 2, sha256 .* there, 1, sha256 .* now"):
        opened.add_expert(made.data, accept=True, domain="new", run=replace(HOW, resume=True))
    assert opened.store.verify(repair=True) == []
    assert server.run("add-expert", registry, **request, resume=True) == 0, (
        "nothing there: from the beginning"
    )


def test_two_processes_at_the_same_run(made, server, tmp_path):
    registry, request = made.copy(tmp_path / "registry"), made.request("add-expert")
    processes = [server.start("add-expert", registry, **request) for _ in range(2)]
    ends = sorted(server.wait(pid) for pid in processes)
    assert ends == [0, REFUSED], server.said()
    assert weights(registry) == weights(made.after["add-expert"])
    assert Store.open(registry).verify() == []
