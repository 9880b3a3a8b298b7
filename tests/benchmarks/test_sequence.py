"""The benchmark of sequences, on three domains, a tiny base and made-up speech: domains, cells, figures."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import benchmarks.sequence.__main__ as sequence
from benchmarks.plan import Cell, Plan, read_plan
from benchmarks.report.targets import RIDGE, SEQUENTIAL, backward
from benchmarks.sequence import experts
from benchmarks.sequence.domains import make_domains
from benchmarks.sequence.figures import averaged, classes_of, figures_of
from benchmarks.sequence.measure import measure
from benchmarks.sequence.methods import METHODS
from benchmarks.sequence.run import CellScores, load_run, prepare, run_cell, save_run
from benchmarks.sequence.settings import Settings
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.features import logits_of
from molex_adapt.metrics import paired_change
from molex_adapt.mixture import ExpertSpec
from molex_adapt.progress import Silent
from molex_adapt.run import Run
from tools.wideband.domains import write_rows

ORDER = ["hum", "said", "buzz"]
"""Of order 2."""
VOICES = {"train": ("ann", "bob"), "dev": ("cat", "dan"), "test": ("eve", "fay")}
COUNTS = {"train": 12, "dev": 8, "test": 14}
SECONDS = 0.6


@pytest.fixture(scope="module")
def manifests(sound, tmp_path_factory):
    """Recordings of six voices; two attacks copy them, one says texts whose numbers recordings have too."""
    folder, number = tmp_path_factory.mktemp("domains"), 0
    for attack, pitch in {"bonafide": 0.0, "buzz": 900.0, "hum": 1800.0, "said": 2700.0}.items():
        rows = []
        for part, count in COUNTS.items():
            for at in range(count):
                number += 1
                voice = f"{attack}-{part}" if attack == "said" else VOICES[part][at % 2]
                for condition in ("none", "drawn") if part == "test" else ("drawn",):
                    path = folder / attack / f"{part}{at}_{condition}.wav"
                    path.parent.mkdir(exist_ok=True)
                    soundfile.write(path, sound(number, 0.7, pitch), 16_000)
                    name = "" if attack == "bonafide" else attack
                    label = "spoof" if name else "bonafide"
                    rows.append((str(path), label, name, voice, f"{part}{at}", part, condition))
        write_rows(folder / f"{attack}.csv", rows)
    return folder


@pytest.fixture(scope="module")
def plan(tiny_folder_of) -> Plan:
    steps = ["joint.steps=2", "expert.steps=2", "router_stage.steps=2", "training.batch_size=8"]
    sizes = ["precision=fp32", "head.width=8", "data.crop_seconds=0.4"]
    settings = {
        "base": str(tiny_folder_of()),
        "development": ["buzz"],
        "test": ["hum", "said"],
        "train": 8,
        "dev": 6,
        "forged": 10,
        "bona_fide": 12,
        "measured_seconds": SECONDS,
        "keep": 12_000,
        "resamples": 20,
    }
    return Plan.model_validate(
        {
            "measurement": "sequence",
            "reads": ["lora", "router", "training", "joint", "expert"],
            "options": [*steps, *sizes, "exemplars.replay=4", "exemplars.check=0"],
            "code": ["benchmarks/sequence"],
            "settings": settings,
            "runs": {name: [[2, 0]] for name in METHODS},
        }
    )


@pytest.fixture(scope="module")
def settings(plan) -> Settings:
    return plan.settings_as(Settings)


@pytest.fixture(scope="module")
def prepared(plan, manifests, tmp_path_factory):
    work = tmp_path_factory.mktemp("sequence")
    return work, prepare(plan, manifests, work, Run(workers=1))


@pytest.fixture(scope="module")
def runs(plan, prepared):
    names = ("ours", "joint", "alone", "ridge")
    return {name: run_cell(Cell(name, (2, 0)), plan, prepared[1], Silent()) for name in names}


def test_a_copy_is_learnt_beside_its_recording_and_a_sentence_beside_any(prepared):
    _, domains = prepared
    assert list(domains.data) == ["buzz", "hum", "said"]
    for name, data in domains.data.items():
        sources = {
            label: sorted(
                source
                for source, real in zip(data.train.sources, data.train.bona_fide, strict=True)
                if bool(real) == label
            )
            for label in (True, False)
        }
        assert (len(sources[True]), len(sources[False]), len(data.dev)) == (8, 8, 12)
        if name == "said":  # a text's number is no recording's
            assert not set(sources[True]) & set(sources[False])
        else:
            assert sources[True] == sources[False]
        assert {row.speaker for row in data.table if row.label == "bonafide"} <= {"ann", "bob", "cat", "dan"}


def test_what_is_measured_is_drawn_short_and_of_test_voices(prepared, manifests):
    _, domains = prepared
    test = domains.test
    assert set(test.voices) == {"eve", "fay", "said-test"}
    assert set(domains.development.voices) == {"cat", "dan"} and domains.development.bona_fide.all()
    assert {soundfile.info(path).frames for path in test.paths} == {round(SECONDS * 16_000)}
    shared = set.intersection(*(set(rows.tolist()) for rows in test.sets.values()))
    assert len(shared) == 12 and test.bona_fide[sorted(shared)].all()
    assert all(len(rows) == 22 for rows in test.sets.values())
    assert len(test.paths) == 12 + 3 * 10
    measured = {soundfile.read(path)[0].tobytes() for path in test.paths}
    drawn = {
        soundfile.read(path)[0][: round(SECONDS * 16_000)].tobytes()
        for path in manifests.glob("*/*_drawn.wav")
    }
    assert measured <= drawn


def test_what_was_made_before_is_read_again(plan, prepared, manifests, monkeypatch):
    work, domains = prepared

    def refuse(*_args):
        raise AssertionError

    monkeypatch.setattr("benchmarks.workbench.extract", refuse)
    again = prepare(plan, manifests, work, Run(workers=1))
    assert again.digest == domains.digest
    assert again.test.features.digest() == domains.test.features.digest()
    for name, data in domains.data.items():
        assert again.data[name].train.digest() == data.train.digest()
        assert again.data[name].train.states is not None


def test_too_few_recordings_and_a_missing_set_are_named(plan, settings, manifests, tmp_path):
    detector = Detector(load_base(settings.base), plan.resolved(""))
    for changes, message in (
        ({"forged": 15}, r"buzz\.csv: 14 recordings of test, 15 are wanted"),
        ({"test": ["hiss"]}, r"hiss\.csv is missing.*--attacks NAME"),
    ):
        with pytest.raises(DataError, match=message):
            make_domains(settings.model_copy(update=changes), manifests, tmp_path, detector, Run(workers=1))
    with pytest.raises(RecipeError, match="an attack is named twice"):
        plan.model_copy(update={"settings": plan.settings | {"test": ["buzz"]}}).settings_as(Settings)


def test_each_attack_is_measured_after_its_own_step_and_all_at_the_end(runs, prepared):
    sets = prepared[1].test.sets
    for name, run in runs.items():
        assert run.order == ORDER and run.whole
        assert np.isfinite(run.test[-1]).all() and np.isfinite(run.development[-1]).all()
        for step, attack in enumerate(ORDER[:-1]):
            known = np.flatnonzero(np.isfinite(run.test[step])).tolist()
            everything = list(range(run.test.shape[1]))
            assert known == {"joint": [], "alone": everything}.get(name, sorted(sets[attack].tolist()))


@pytest.mark.parametrize("method", ["ours", "ridge"])
def test_a_cell_that_was_cut_off_goes_on_where_it_was(method, plan, prepared, runs, tmp_path, monkeypatch):
    _, domains = prepared
    state, cell = tmp_path / "state.safetensors", Cell(method, (2, 0))
    learn, learnt = METHODS[method].learn, list[str]()

    def cut_off(self, name, data):
        if len(learnt) == 2:
            raise KeyboardInterrupt
        learnt.append(name)
        return learn(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(METHODS[method], "learn", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, plan, domains, Silent(), state)
    resumed = run_cell(cell, plan, domains, Silent(), state)
    assert learnt == ORDER[:2]
    assert np.array_equal(resumed.test, runs[method].test, equal_nan=True)
    assert np.array_equal(resumed.development, runs[method].development, equal_nan=True)
    assert len(resumed.steps) == 3


def test_a_cell_runs_by_its_command_and_averages_come_of_detectors_apart(
    plan, prepared, runs, manifests, settings, monkeypatch
):
    work, domains = prepared

    def run_here(command, check):
        assert check and command[:3] == [sys.executable, "-m", "benchmarks.sequence"]
        assert f"--parent={os.getpid()}" in command
        monkeypatch.setattr("sys.argv", [part for part in command[2:] if not part.startswith("--parent")])
        sequence.main()

    monkeypatch.setattr(subprocess, "run", run_here)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    cells = [Cell("alone", (2, 0)), Cell("averaged", (2, 0))]
    found = dict(measure(plan, cells, manifests, work, workers=1))
    wanted = dict(zip(cells, (runs["alone"], averaged(runs["alone"])), strict=True))
    assert set(found) == set(cells)
    for cell, run in wanted.items():
        same = figures_of(run, domains, settings)
        assert found[cell]["final"] == same["final"] and found[cell]["resampled"] == same["resampled"]
    assert not list(work.glob("cells-*/*.safetensors"))
    first, second, _ = runs["alone"].test
    assert averaged(runs["alone"]).test[1] == pytest.approx((first + second) / 2, abs=1e-5)


def test_after_a_cell_that_fails_no_other_begins(plan, manifests, prepared, monkeypatch):
    begun = []

    class SlowPool(ThreadPoolExecutor):  # the first cell has time to fail before the second is handed over
        def submit(self, *job):
            handed_over = super().submit(*job)
            time.sleep(0.05)
            return handed_over

    monkeypatch.setattr(sys.modules[measure.__module__], "ThreadPoolExecutor", SlowPool)

    def fail(command, check):
        begun.append(command)
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    cells = [Cell("ridge", (number, 0)) for number in range(3)]
    with pytest.raises(subprocess.CalledProcessError):
        list(measure(plan, cells, manifests, prepared[0], workers=1))
    assert len(begun) == 1


def test_a_cell_ends_with_the_process_that_started_it(monkeypatch):
    class EndedError(Exception):
        pass

    def end(status):
        raise EndedError(status)

    monkeypatch.setattr(os, "_exit", end)
    parents = iter([7, 7, 1])  # the parent ends, and another takes its children
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    with pytest.raises(EndedError):
        sequence.end_with(7, every=0.001)
    assert not list(parents)


def test_what_each_expert_does_is_said_of_ours_alone(runs, prepared, settings):
    found = {name: figures_of(run, prepared[1], settings).get("experts") for name, run in runs.items()}
    assert set(found.pop("ours")) == set(ORDER)
    assert set(found.values()) == {None}


def test_an_expert_is_switched_off_for_its_own_attack(plan, prepared, monkeypatch):
    """One is chosen for everything, one is withdrawn."""
    test, recipe, compared = prepared[1].test, plan.resolved("ours"), []
    detector = Detector(load_base(Path(plan.settings["base"])), recipe)
    for name in ORDER:
        detector.mixture.add(ExpertSpec(name, recipe.lora.rank, recipe.lora.alpha))
        for weight in detector.mixture.expert_parameters(name):
            torch.nn.init.normal_(weight)
    for router in detector.mixture.routers:
        with torch.no_grad():
            router.rows.table.zero_()
            router.rows.table[0, -1] = 3.0
    detector.mixture.withdraw("said")

    def compare(*scores, **how):
        compared.append(scores)
        return paired_change(*scores, **how)

    monkeypatch.setattr(experts, "paired_change", compare)
    found = experts.experts_of(detector, test)
    assert found["said"] is None
    leads, other = found["hum"], found["buzz"]
    assert leads["own"] == pytest.approx(leads["bona_fide"])
    first = math.exp(3.0 / detector.base.width**0.5)  # the other expert and the rest have a gate logit of 0
    assert leads["own"] == pytest.approx(first / (first + 2)) and other["own"] == pytest.approx(
        1 / (first + 2)
    )
    assert leads["ci"][0] <= leads["without"] <= leads["ci"][1]
    whole = logits_of(detector, test.features).numpy()
    with detector.mixture.without("hum"):
        alone = logits_of(detector, test.features).numpy()
    assert np.abs(whole - alone).max() > 0.01
    wanted = (*classes_of(whole, test, "hum"), *classes_of(alone, test, "hum"))
    for own, same in zip(compared[0], wanted, strict=True):
        assert own == pytest.approx(same, abs=1e-5)


def test_a_run_is_read_back(runs, tmp_path):
    save_run(runs["ours"], tmp_path / "a" / "run.safetensors")
    read, state = load_run(tmp_path / "a" / "run.safetensors")
    assert read.order == ORDER and read.steps == runs["ours"].steps and not state
    assert read.experts == runs["ours"].experts
    assert np.array_equal(read.test, runs["ours"].test, equal_nan=True)


def test_figures_of_known_scores(settings, prepared, runs):
    """Every attack is told from its own step on; then half of the first is forgotten, and a quarter is refused."""
    _, domains = prepared
    test, first = domains.test, ORDER[0]
    run = replace(CellScores.empty(ORDER, domains), steps=runs["ours"].steps)
    for step, name in enumerate(ORDER):
        run.test[step, test.sets[name]] = np.where(test.bona_fide[test.sets[name]], 2.0, -2.0)
    run.development[[0, 2]] = 1.0
    run.test[2] = np.where(test.bona_fide, 2.0, -2.0)
    run.test[2, [at for at in test.sets[first] if not test.bona_fide[at]][:5]] = 3.0
    run.test[2, np.flatnonzero(test.bona_fide)[:3]] = 0.0
    run.test[:] += 1e-4 * np.arange(len(test.paths))  # no ties
    found = figures_of(run, domains, settings)
    assert found["right_after"] == {first: 0.0, ORDER[1]: 0.0, ORDER[2]: 0.0}
    assert found["final"] == {"buzz": 0.0, first: pytest.approx(0.5, abs=0.11), "said": 0.0}
    assert backward(found) == [found["final"][first], 0.0]
    assert found["worst"]["attack"] == first
    assert found["worst"]["ci"][0] < found["final"][first] < found["worst"]["ci"][1]
    assert found["threshold"]["first"] == {"refused": 0.0, "accepted": 0.0}
    last = {"refused": 0.25, "accepted": 0.5 / 3, "accepted_test": 0.25}
    assert found["threshold"]["last"] == pytest.approx(last)
    assert len(domains.development.paths) < 18  # recordings of several attacks count once
    for kind, count in (("test", 2), ("all", 3)):
        rates = np.array(found["resampled"][kind]) / 1e4
        assert len(rates) == 20 and rates.std() > 0
        assert rates.mean() == pytest.approx(found["final"][first] / count, abs=0.08)
        assert 1 >= found["act_dcf"][kind] >= found["min_dcf"][kind] > 0
    assert found["cost"]["stored"] == sum(step["stored"] for step in run.steps) > found["cost"]["kept"] > 0


def test_where_nothing_is_measured_there_is_no_figure(settings, prepared, runs):
    found = figures_of(runs["joint"], prepared[1], settings)
    assert [name for name, value in found["right_after"].items() if np.isfinite(value)] == ORDER[-1:]
    assert set(found["threshold"]) == {"last"}


def test_resamples_are_the_same_for_all_runs(settings, prepared, runs):
    """Of a run whose scores are moved, which no EER notices, and in whatever order attacks were learnt."""
    domains, rng = prepared[1], np.random.default_rng(0)
    run = replace(runs["ridge"], test=rng.standard_normal(runs["ridge"].test.shape).astype(np.float32))
    moved = replace(run, test=run.test + 1, order=ORDER[::-1])
    other = replace(run, test=run.test[::-1])
    found = [figures_of(each, domains, settings)["resampled"] for each in (run, moved, other)]
    assert found[0] == found[1] != found[2]


def test_the_committed_plan_is_whole():
    plan = read_plan("sequence")
    settings = plan.settings_as(Settings)
    assert set(plan.runs) == {*METHODS, "averaged", *(f"ours+{name}" for name in plan.variants)}
    assert {*SEQUENTIAL, RIDGE, "joint", "joint_lora"} <= set(plan.runs)
    assert {*plan.reads_of, *plan.tuning} <= set(plan.runs)
    assert len(settings.development) == len(settings.test) == 6
    orders = [tuple(settings.order(number)) for number in range(5)]
    assert len(set(orders)) == 5 and all(sorted(order) == sorted(settings.attacks) for order in orders)
    assert all(cells == [[at, at] for at in range(5)] for cells in plan.runs.values())
    recipe = plan.resolved("ours+replay")
    frames = int(recipe.data.crop_seconds * 50)
    width = load_base(settings.base).prefix_width
    assert settings.keep == 2 * recipe.exemplars.replay * frames * width * 2  # as it keeps, in half precision
