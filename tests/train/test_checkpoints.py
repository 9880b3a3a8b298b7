from __future__ import annotations

import json

import pytest
import torch

from molex_adapt import Run
from molex_adapt.errors import RegistryError
from molex_adapt.progress import Silent
from molex_adapt.registry.checkpoints import RunFolder
from molex_adapt.train import adapt, loop
from molex_adapt.train.adapt import add_expert, retrain_routers, train_first
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.old import OldDomain

ORIGIN = {"command": "add-expert", "seed": "0"}


class Killed(BaseException):
    """Ends a run where it stands."""


class Ear(Silent):
    """Notes what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def training(detector_of, features_of, domain_of, tiny_recipe, monkeypatch):
    """Each kind of run as a function of its checkpoints and progress that returns the detector it leaves."""
    monkeypatch.setattr(adapt, "solve_if_better", lambda *_: None)  # rows in closed form need no checkpoint
    stage = {"steps": 8, "evaluate_every": 3}
    recipe = tiny_recipe(
        joint=stage,
        expert=stage,
        router_stage=stage | {"steps": 5},
        router={"noise": 0.3},
        training={"patience": 9},
    )

    def old(name: str, channel: int):
        heard = features_of(6, 30 + channel, name, channel)
        return OldDomain(name, Exemplars(heard, features_of(4, 50 + channel, name, channel)))

    def add(checkpoints, progress):
        detector = detector_of(recipe, "world", "opus")
        known = {name: old(name, at) for at, name in enumerate(detector.mixture.names)}
        add_expert(
            detector,
            "buzz",
            "buzz",
            domain_of("buzz", 3),
            known,
            0.0,
            recipe,
            Run(seed=7, progress=progress),
            checkpoints,
        )
        return detector

    def first(checkpoints, progress):
        detector = detector_of(recipe)
        domains = {"a": domain_of("a", 1), "b": domain_of("b", 2, seed=2)}
        train_first(detector, domains, recipe, Run(seed=7, progress=progress), checkpoints=checkpoints)
        return detector

    def routers(checkpoints, progress):
        detector = detector_of(recipe, "world", "opus")
        known = {name: old(name, at) for at, name in enumerate(detector.mixture.names)}
        retrain_routers(detector, {}, known, 0.0, recipe, Run(seed=7, progress=progress), checkpoints)
        return detector

    return {"add": add, "first": first, "routers": routers}


def killed_at(step: int, run, folder, monkeypatch) -> None:
    """Run until the `step`th step of all stages, then end it; a checkpoint is kept after every one."""
    taken, real = 0, loop._differentiate

    def counted(*given):
        nonlocal taken
        taken += 1
        if taken == step:
            raise Killed
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_differentiate", counted)
        with RunFolder.claim(folder, ORIGIN, resume=False) as kept, pytest.raises(Killed):
            run(Checkpoints(kept, every=0.0), Silent())


@pytest.mark.parametrize(
    ("kind", "step"),
    [("add", at) for at in (2, 5, 8, 9, 11, 13)] + [("first", 1), ("first", 6), ("routers", 4)],
)
def test_a_resumed_run_ends_with_the_same_bits(training, state, tmp_path, monkeypatch, kind, step):
    whole = state(training[kind](None, Silent()))
    killed_at(step, training[kind], tmp_path, monkeypatch)
    torch.manual_seed(12345)
    ear = Ear()
    with RunFolder.claim(tmp_path, ORIGIN, resume=True) as kept:
        resumed = state(training[kind](Checkpoints(kept, ear), ear))
    assert any("resumed after step" in note for note in ear.notes) == (step > 1)
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_steps_before_the_checkpoint_are_not_taken_again(training, tmp_path, monkeypatch):
    killed_at(11, training["add"], tmp_path, monkeypatch)
    taken, real = [], loop._differentiate
    monkeypatch.setattr(loop, "_differentiate", lambda *given: taken.append(1) or real(*given))
    with RunFolder.claim(tmp_path, ORIGIN, resume=True) as kept:
        training["add"](Checkpoints(kept), Silent())
    assert len(taken) == 8 + 5 - 10


def test_a_disk_that_cannot_take_a_checkpoint_costs_nothing_else(training, state, tmp_path, monkeypatch):
    whole = state(training["routers"](None, Silent()))
    ear = Ear()
    with RunFolder.claim(tmp_path, ORIGIN, resume=False) as kept:
        monkeypatch.setattr(kept, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        found = state(training["routers"](Checkpoints(kept, ear, every=0.0), ear))
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    (said,) = [note for note in ear.notes if "could be written" in note]
    assert "No space left" in said


@pytest.mark.parametrize(
    "fault", ["shape", "missing", "queue", "standing", "digest", "cut off", "no json", "link"]
)
def test_a_damaged_checkpoint_is_refused(training, tmp_path, monkeypatch, fault):
    from molex_adapt.registry import files

    killed_at(4, training["routers"], tmp_path, monkeypatch)
    with RunFolder.claim(tmp_path, ORIGIN, resume=True) as kept:
        tensors, rest = kept.read("router")
        if fault == "shape":
            kept.write("router", tensors | {"trained.0": tensors["trained.0"][:3]}, rest)
        elif fault == "missing":
            kept.write("router", {name: tensors[name] for name in tensors if name != "kept.1"}, rest)
        elif fault == "queue":
            kept.write("router", tensors | {"sampler.queue.0": tensors["sampler.queue.0"] + 1000}, rest)
        elif fault == "standing":
            kept.write("router", tensors, rest | {"standing": {"steps": "many"}})
        place = next(kept.folder.glob("router-*.safetensors"))
        if fault == "digest":
            place.write_bytes(files.dump_tensors(tensors | {"trained.0": tensors["trained.0"] + 1}))
        elif fault == "cut off":
            place.write_bytes(place.read_bytes()[:-1])
        elif fault == "no json":
            (kept.folder / "router.json").write_text(json.dumps({"format": 1}))
        elif fault == "link":
            place.rename(tmp_path / "aside")
            place.symlink_to(tmp_path / "aside")
        with pytest.raises(RegistryError):
            training["routers"](Checkpoints(kept), Silent())
