"""Two processes do together what one does: training, scores, analysis, sums; and go on after one of them was killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from molex_adapt.api import PER_ATTACK, Registry
from molex_adapt.api.journal import discard_journal
from molex_adapt.errors import DataError, MolexError
from molex_adapt.features import score_table
from molex_adapt.processes import by_itself, from_first, gathered, is_first, own_part, place, summed
from molex_adapt.readout.view import Moments
from molex_adapt.recipe import Recipe
from molex_adapt.registry import Store, layout
from molex_adapt.run import Run
from molex_adapt.train import checkpoints, loop, prepare
from tests.several import in_two

HOW = Run(device="cpu", workers=1, cache="off")
COUPLED = {
    "router": {"noise": 0.5},
    "joint": {"orthogonality": 0.1, "draws": 1},
    "head": {"width": 8, "readout": True},
}
"""All that couples the recordings of a batch, and all chance."""
WITHOUT_EFFECT = "head attend.2.bias"
"""Attention over frames does not feel it: its gradient is zero but for rounding, which the optimiser scales up."""


def numbers(registry: Registry) -> dict[str, np.ndarray]:
    """Every number of the active generation."""
    store = registry.store
    record = store.generation()
    found = {f"router {key}": value for key, value in store.router_tensors(record.number).items()}
    found |= {f"head {key}": value for key, value in store.head_tensors(record.number).items()}
    for name in record.names:
        weights = load_file(layout.expert_folder(store.path, name) / layout.ADAPTER)
        found |= {f"expert {name} {key}": value.astype(np.float32) for key, value in weights.items()}
    found["calibration"] = np.array([record.calibration.scale, record.calibration.offset, record.threshold])
    return found


def first_mixture(path: Path, known: Path, recipe: Recipe, cache: Path | None = None) -> dict[str, Any]:
    """Train; where there is a cache, features of the training split stay in its files."""
    registry = Registry(Store(path))
    with pytest.MonkeyPatch.context() as patch:
        if cache is not None:
            patch.setattr(prepare, "memory_gib", lambda: 0.0)
        run = replace(HOW, cache=cache or "off")
        report = registry.train(known, experts=PER_ATTACK, recipe=recipe, run=run)
    return {"numbers": numbers(registry), "steps": report.training["joint"]["steps"]}


def further_expert(path: Path, new: Path, resume: bool = False, killed_at: int = 0) -> dict[str, Any]:
    """Add an expert from recordings of which one cannot be read; the second process may be killed at some step."""
    step, taken = loop._differentiate, 0

    def counted(*given: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == killed_at and not is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        step(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_differentiate", counted)
        patch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
        registry, run = Registry(Store(path)), replace(HOW, resume=resume)
        report = registry.add_expert(new, domain="zap", accept=True, run=run)
    return {
        "numbers": numbers(registry),
        "steps": taken,
        "rates": {domain: item.eer for domain, item in report.after.items()},
        "failed": [item.path for item in report.failed],
    }


def heard(path: Path, new: Path) -> dict[str, Any]:
    """Score, measure and analyse."""
    registry = Registry(Store(path))
    scored, measured = registry.score(new, run=HOW), registry.evaluate(new, run=HOW)
    analysed = registry.analyze(new, run=HOW)
    unlike = registry.novelty(new, run=HOW)
    return {
        "scores": {item.path: item.score for item in scored.scores},
        "failed": [[item.path for item in report.failed] for report in (scored, measured, analysed, unlike)],
        "usage": {
            f"{name} {expert}": share for name, own in analysed.usage.items() for expert, share in own.items()
        },
        "utterances": analysed.utterances,
        "unlike": {item.path: item.distance for item in unlike.most_unlike},
        "rates": {name: getattr(measured.overall, name) for name in ("eer", "cllr", "bona_fide", "spoof")},
        "heard in training": measured.heard_in_training.recordings,
    }


@dataclass(frozen=True)
class Made:
    """Two data sets, a registry for the first, what one process makes of it, and the registry as it is in between."""

    known: Path
    new: Path
    empty: Path
    trained: Path
    whole: Path
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def made(recorded, tiny_folder_of, tiny_recipe, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("several")
    known = recorded(folder / "known", bona_fide=16, buzz=16, hum=16)
    new = recorded(folder / "new", bona_fide=16, first=300, zap=16)
    (new / "spoof" / "zap" / "zap001.wav").write_bytes(b"no audio")
    empty, trained, whole = (folder / name for name in ("empty", "trained", "whole"))
    Registry.create(empty, str(tiny_folder_of()))
    shutil.copytree(empty, trained)
    first = first_mixture(trained, known, tiny_recipe(**COUPLED))
    shutil.copytree(trained, whole)
    return Made(known, new, empty, trained, whole, first, further_expert(whole, new))


def require_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """All numbers, but for rounding: experts that change little yet give the head gradients that are differences.

    Experts are kept in half precision, whose step is 2.5e-4 at 0.25 to 0.5.
    """
    assert found["numbers"].keys() == expected["numbers"].keys()
    for key, value in expected["numbers"].items():
        if key != WITHOUT_EFFECT:
            np.testing.assert_allclose(found["numbers"][key], value, atol=5e-4, rtol=1e-5, err_msg=key)
    same = expected.keys() - {"numbers"}
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}


def test_two_processes_train_the_mixture_that_one_does(made, tiny_recipe, tmp_path):
    registry = Path(shutil.copytree(made.empty, tmp_path / "registry"))
    for found in in_two(first_mixture, registry, made.known, tiny_recipe(**COUPLED), tmp_path / "cache"):
        require_same(found, made.first)
    drawn = 33  # of train and dev, which are heard under conditions, too
    assert len(list(tmp_path.glob("cache/prefix/??/*.npy"))) == 3 * (48 + drawn)
    assert len(Store(registry).history()) == 1


@pytest.mark.durability
def test_two_processes_go_on_after_one_was_killed(made, tmp_path):
    registry = Path(shutil.copytree(made.trained, tmp_path / "registry"))
    left = in_two(further_expert, registry, made.new, False, 5, answers=1)
    assert "process 0 of 2 cannot reach the others" in str(left[0])
    assert len(Store(registry).history()) == 1
    assert Store(registry).verify() == []
    found = in_two(further_expert, registry, made.new, True)
    steps = made.second["steps"]
    assert [item["steps"] for item in found] == [steps - 4] * 2
    for item in found:
        require_same(item | {"steps": steps}, made.second)
    assert not (registry / layout.CHECKPOINTS).exists()


def test_two_processes_hear_what_one_does(made):
    expected = heard(made.whole, made.new)
    assert len(expected["scores"]) == 31
    for found in in_two(heard, made.whole, made.new):
        assert list(found["scores"]) == list(expected["scores"])
        for part in ("scores", "usage", "rates", "unlike"):
            assert found[part] == pytest.approx(expected[part], abs=1e-5)
        for part in ("failed", "utterances", "heard in training"):
            assert found[part] == expected[part]


def interrupted(path: Path, new: Path, journal: Path) -> None:
    """Score, and be stopped after five scores; then what the others have is lost, but not their journals."""
    from molex_adapt import features

    def stopped(*given: Any, told: Callable[..., None], **more: Any) -> Any:
        for item in score_table(*given, **more)[0][place()[0] :: 2][:5]:
            told(item)
        raise MolexError("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "score_table", stopped)
        Registry(Store(path)).score(new, journal=journal, run=HOW)


def test_scores_of_every_process_survive_an_interruption(made, tmp_path):
    journal, noted = tmp_path / ".scores.csv.partial", []

    class Ear(type(HOW.progress)):
        def note(self, text: str) -> None:
            noted.append(text)

    in_two(interrupted, made.whole, made.new, journal)
    assert sorted(path.name for path in tmp_path.iterdir()) == [journal.name, f"{journal.name}.process1"]
    run = replace(HOW, resume=True, progress=Ear())
    found = Registry(Store(made.whole)).score(made.new, journal=journal, run=run)
    assert noted == ["10 of 32 recordings were scored before the interruption."]
    assert len({item.path for item in found.scores}) == len(found.scores) == 31
    discard_journal(journal)
    assert list(tmp_path.iterdir()) == []


ROWS = torch.randn(101, 7, generator=torch.Generator().manual_seed(0)) * 30
FOLDS = torch.arange(101) % 5


def sums() -> dict[str, Any]:
    """What the first says, or meets, all hear; parts join to the whole; sums are those of the whole."""

    def refuses() -> None:
        raise DataError("the first met this")

    with pytest.raises(DataError, match="the first met this"):
        from_first(refuses)
    with by_itself():
        assert (place(), gathered("alone")) == ((0, 1), ["alone"])
    moments = Moments.of(ROWS, FOLDS, 5)
    return {
        "first": from_first(lambda: (place(), os.getpid())),
        "ranks": gathered(place()),
        "parts": gathered(own_part([5.0, 1.0, 1.0, 4.0, 2.0, 1.0])),
        "sum": summed(torch.tensor([1.0 + place()[0], 0.5])).tolist(),
        "moments": (moments.sums.numpy(), moments.counts.tolist()),
    }


def test_statistics_add_up_and_what_one_decides_all_do():
    first, second = in_two(sums)
    assert first["first"] == second["first"]
    assert first["first"][0] == (0, 1), "what the first does for all, it does by itself"
    assert first["ranks"] == [(0, 2), (1, 2)]
    assert first["parts"] == second["parts"]
    assert sorted(at for part in first["parts"] for at in part) == list(range(6))
    assert [sum([5, 1, 1, 4, 2, 1][at] for at in part) for part in first["parts"]] == [7, 7]
    assert first["sum"] == second["sum"] == [3.0, 1.0]
    whole = Moments.of(ROWS, FOLDS, 5)
    for found in (first, second):
        np.testing.assert_allclose(found["moments"][0], whole.sums.numpy(), rtol=1e-12, atol=1e-10)
        assert found["moments"][1] == whole.counts.tolist()


def test_one_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (place(), own_part([1.0] * 3), gathered(1), from_first(lambda: 2)) == ((0, 1), [0, 1, 2], [1], 2)
    for rank, size in (("2", "2"), ("x", "2"), ("0", "")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(MolexError, match=f"RANK={rank} and WORLD_SIZE={size} name no process"):
            place()
