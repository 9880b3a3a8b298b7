"""A first training from clean recordings: what is learnt and measured, with which recipe, and what the page says."""

from __future__ import annotations

import csv
from collections import Counter
from copy import deepcopy

import pytest

from benchmarks import clean
from benchmarks.clean import Settings, beginning
from benchmarks.plan import Cell, read_plan
from benchmarks.report.clean import clean as section
from benchmarks.report.found import Found
from benchmarks.results import Results
from molex_adapt.api import Registry
from molex_adapt.data import decode
from molex_adapt.run import Run

ATTACKS = ("griffin_lim", "phase_vocoder")
SIZES = {"train": 22, "dev": 4, "test": 6}


@pytest.fixture(scope="module")
def domains(domains_of, tmp_path_factory):
    """The last two training recordings went through something."""
    folder = domains_of(tmp_path_factory.mktemp("clean"), ATTACKS, SIZES, voices=10, twice=("dev", "test"))
    with (folder / "bonafide.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows[20:22]:
        row["condition"] = "drawn"
    with (folder / "bonafide.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def plan(tiny_folder_of):
    settings = {
        "bases": {"one": str(tiny_folder_of())},
        "attacks": list(ATTACKS),
        "seconds": 0.5,
        "copied": 0.9,
    }
    runs = {"one+clean": [0], "one": [0]}
    return read_plan("clean").model_copy(update={"settings": settings, "runs": runs})


@pytest.fixture(scope="module")
def trained():
    """Tables and recipes that registries learnt."""
    return []


@pytest.fixture(scope="module")
def figures(plan, domains, trained, tmp_path_factory):
    train = Registry.train

    def watched(self, table, **options):
        trained.append((table, options))
        return train(self, table, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "train", watched)
        found = clean.measure(plan, plan.cells, domains, tmp_path_factory.mktemp("work"))
        return {cell.method: figures for cell, figures in found}


def test_what_is_learnt_is_clean_and_short_and_of_training_voices(plan, domains, tmp_path):
    settings = plan.settings_as(Settings)
    table = beginning(settings, domains, tmp_path, Run())
    assert Counter(row.attack for row in table) == {None: 20, "griffin_lim": 18, "phase_vocoder": 18}
    assert {row.condition for row in table} == {"none"} and {row.split for row in table} == {None}
    assert {row.speaker for row in table} == {f"train{at}" for at in range(10)}
    real = {row.source: row for row in table if row.label == "bonafide"}
    for row in table:
        assert row.speaker == real[row.source].speaker  # so that no split parts a copy from its recording
        assert 7_900 < len(decode(row.path)) <= 8_000
    kinds = [{row.source for row in table if row.attack == name} for name in ATTACKS]
    assert kinds[0] != kinds[1]
    assert list(beginning(settings, domains, tmp_path, Run())) == list(table)


def test_cells_differ_by_drawn_conditions_alone(figures, trained):
    (table, with_none), (same, with_one) = trained
    assert list(table) == list(same)
    assert with_none["recipe"].joint.draws == 0 and with_one["recipe"].joint.draws == 1
    assert with_none["readout_only"] and with_one["readout_only"]
    assert set(figures) == {"one", "one+clean"}


def test_voices_that_nobody_learnt_are_measured_by_condition(figures):
    for found in figures.values():
        assert found["heard"] == {"bonafide": 20, "spoof": 36}
        attacks = found["test"]["attacks"]
        assert set(attacks["none"]["attacks"]) == set(ATTACKS)
        assert attacks["none"]["mean"] == attacks["drawn"]["mean"]  # the same files here
        assert found["test"]["real"]["none"]["recordings"] == 6
        assert found["dev"]["real"]["none"]["recordings"] == 4
        assert all(name.startswith("test") for name in found["test"]["real"]["none"]["voices"])


def test_the_page_sets_both_ways_side_by_side(plan, figures):
    shown = {name: deepcopy(figures["one"]) for name in ("one", "one+clean", "lonely")}
    drawn = shown["one"]["test"]["attacks"]["drawn"] = deepcopy(shown["one"]["test"]["attacks"]["drawn"])
    drawn["mean"] += 0.02
    drawn["resampled"] = [value + 200 for value in drawn["resampled"]]
    drawn["attacks"]["griffin_lim"]["eer"] = 0.375
    shown["one+clean"]["test"]["real"]["none"]["refused"] = 0.625
    asked = plan.model_copy(update={"runs": {name: [0] for name in shown}})
    results = Results.of(asked)
    machine = {"bfloat16": False, "card": "", "processor": "x", "cores": 1, "torch": "2"}
    for name, own in shown.items():
        results.add(asked, Cell(name, (0,)), own, {"benchmarks/clean": ""}, machine)
    page = section(Found("clean", asked, results))
    rows = {
        row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in page if line.startswith("| "))
    }
    assert not any(title.startswith("lonely") for title in rows)
    assert rows["one, test voices, under drawn conditions"][1] == "+2.0 [+2.0, +2.0]"
    assert rows["one, test voices, as they are"][2].startswith("62.5 → ")
    assert rows["griffin_lim"][1].endswith(" → 37.5")
