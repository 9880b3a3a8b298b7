"""Two processes do together what one does: training, scores, analysis, sums; and go on after one of them was killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Queue, get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from molex_adapt.api import PER_ATTACK, Registry
from molex_adapt.errors import DataError, MolexError
from molex_adapt.processes import by_itself, from_first, gathered, own_part, place, summed
from molex_adapt.readout.view import Moments
from molex_adapt.recipe import Recipe
from molex_adapt.registry import Store
from molex_adapt.run import Run
from molex_adapt.train import checkpoints, loop

HOW = Run(device="cpu", workers=1)
COUPLED = {"router": {"noise": 0.5}, "joint": {"orthogonality": 0.1}, "head": {"width": 8, "readout": True}}
"""All that couples the recordings of a batch, and all chance."""
WITHOUT_EFFECT = "head attend.2.bias"
"""Attention over frames does not feel it: its gradient is zero but for rounding, which the optimiser scales up."""


def as_rank(rank: int, port: int, work: Callable[..., Any], given: tuple[Any, ...], said: Queue[Any]) -> None:
    """What a fork does that `accelerate launch` had started as one of two."""
    several = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in several.items()})
    try:
        said.put((rank, work(*given)))
    except MolexError as error:
        said.put((rank, error))


def in_two(work: Callable[..., Any], *given: Any, answers: int = 2) -> list[Any]:
    """What two processes come to, the first one's first."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = int(asked.getsockname()[1])
    forks = get_context("fork")
    said: Queue[Any] = forks.Queue()
    both = [forks.Process(target=as_rank, args=(rank, port, work, given, said)) for rank in range(2)]
    for process in both:
        process.start()
    found = dict(said.get(timeout=120) for _ in range(answers))
    for process in both:
        process.join()
    return [found[rank] for rank in sorted(found)]


def written(registry: Registry) -> dict[str, np.ndarray]:
    """Every number of the active generation."""
    store = registry.store
    record = store.generation()
    found = {f"router {key}": value for key, value in store.router_tensors(record.number).items()}
    found |= {f"head {key}": value for key, value in store.head_tensors(record.number).items()}
    for name in record.names:
        weights = load_file(store.path / "experts" / name / "adapter_model.safetensors")
        found |= {f"expert {name} {key}": value.astype(np.float32) for key, value in weights.items()}
    calibration = [record.calibration.scale, record.calibration.offset, record.threshold]
    return {**found, "calibration": np.array(calibration)}


def course(path: Path, known: Path, new: Path, recipe: Recipe) -> dict[str, Any]:
    """Train, add an expert, score and analyse, with one recording that cannot be read; what each came to."""
    registry, run = Registry(Store(path)), HOW
    first = registry.train(known, experts=PER_ATTACK, recipe=recipe, run=run)
    trained = written(registry)
    added = registry.add_expert(new, domain="zap", accept=True, run=run)
    scored = registry.score(new, journal=path / "journal", run=run)
    analysed = registry.analyze(new, run=run)
    return {
        "steps": [report.training[stage]["steps"] for report, stage in ((first, "joint"), (added, "expert"))],
        "trained": trained,
        "added": written(registry),
        "rates": {domain: item.eer for domain, item in added.after.items()},
        "scores": [(item.path, item.score) for item in scored.scores],
        "failed": [item.path for report in (added, scored, analysed) for item in report.failed],
        "usage": analysed.usage,
        "generations": len(registry.store.history()),
    }


def test_two_processes_come_to_what_one_does(recorded, tiny_folder_of, tiny_recipe, tmp_path):
    known = recorded(tmp_path / "known", bona_fide=16, buzz=16, hum=16)
    new = recorded(tmp_path / "new", bona_fide=16, first=300, zap=16)
    (new / "spoof" / "zap" / "zap001.wav").write_bytes(b"no audio")
    one, two = (
        Registry.create(tmp_path / name, str(tiny_folder_of())).store.path for name in ("one", "two")
    )
    alone = course(one, known, new, tiny_recipe(**COUPLED))
    both = in_two(course, two, known, new, tiny_recipe(**COUPLED))
    assert any("readout.weights" in key for key in alone["added"])
    for part in ("trained", "added"):
        for key, value in alone[part].items():
            assert np.array_equal(both[0][part][key], both[1][part][key]), key
            if key != WITHOUT_EFFECT:
                np.testing.assert_allclose(both[0][part][key], value, atol=1e-5, rtol=1e-5, err_msg=key)
    for found in both:
        assert [path for path, _ in found["scores"]] == [path for path, _ in alone["scores"]]
        assert [score for _, score in found["scores"]] == pytest.approx(
            [score for _, score in alone["scores"]], abs=1e-5
        )
        for name, shares in alone["usage"].items():
            assert found["usage"][name] == pytest.approx(shares, abs=1e-5)
        same = ("steps", "failed", "generations", "rates")
        assert {key: found[key] for key in same} == {key: alone[key] for key in same}
    assert len(alone["failed"]) == 3
    assert alone["generations"] == 2
