"""What people would do instead of ours, on two tiny domains: each learns, scores, and goes on from its state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods import METHODS, Setting
from benchmarks.sequence.methods.analytic import Moments, RandomFeatures, Recursion
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.features import concatenate
from molex_adapt.progress import Silent
from molex_adapt.run import Run
from molex_adapt.train.prepare import prepare

ORDER = ("buzz", "hum")
KEEP = 12_000
"""Bytes: some pairs of each tiny domain, but not all."""


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    stage = {"steps": 2, "evaluate_every": 2}
    return tiny_recipe(
        head={"width": 8, "readout": True},
        router={"top_k": 2},
        joint=stage,
        expert=stage,
        router_stage=stage,
        data={"crop_seconds": 0.4, "split_by": "source"},
    )


@pytest.fixture(scope="module")
def domains(recorded, recipe, tiny_folder_of, tmp_path_factory):
    detector = Detector(load_base(tiny_folder_of()), recipe)
    folder = tmp_path_factory.mktemp("methods")
    return {
        name: prepare(
            detector,
            recorded(folder / name, bona_fide=14, first=5000 * at, **{name: 14}),
            recipe,
            Run(workers=1),
        )
        for at, name in enumerate(ORDER)
    }


@pytest.fixture(scope="module")
def measured(domains) -> Measured:
    features = concatenate([data.test for data in domains.values()])
    paths = [row.path for data in domains.values() for row in data.table if row.split == "test"]
    return Measured(features, tuple(paths), {})


@pytest.fixture(scope="module")
def setting(recipe, tiny_folder_of) -> Setting:
    return Setting(tiny_folder_of(), recipe, len(ORDER), 3, Silent(), KEEP)


@pytest.fixture(scope="module", autouse=True)
def few_random_features():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RandomFeatures.__init__, "__defaults__", (64, *RandomFeatures.__init__.__defaults__[1:])
        )
        yield


@pytest.fixture(scope="module")
def run_of(setting, domains, measured):
    """A method after both domains, by its name, with what each step came to; every method runs once."""
    known = {}

    def run(name):
        if name not in known:
            method, steps = METHODS[name](setting), []
            for domain in ORDER:
                learnt = method.learn(domain, domains[domain])
                state = save(method.state())
                steps.append((learnt, method.scores(measured), state))
            known[name] = method, steps
        return known[name]

    return run


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_and_goes_on_from_its_state(name, run_of, setting, domains, measured):
    method, steps = run_of(name)
    for learnt, scores, _ in steps:
        assert scores.shape == (len(measured.features),)
        assert np.isfinite(scores).all()
        assert learnt.trainable > 0
        assert learnt.stored >= learnt.kept >= 0
    other = METHODS[name](setting)
    other.go_on(load(steps[0][2]), [(ORDER[0], domains[ORDER[0]])])
    assert np.array_equal(other.scores(measured), steps[0][1])
    assert other.learn(ORDER[1], domains[ORDER[1]]) == steps[1][0]
    assert np.array_equal(other.scores(measured), steps[1][1])
