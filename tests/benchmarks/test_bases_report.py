"""A sequence on one base beside the same on another: which runs are compared, and what the section says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.plan import Cell, plan_names, read_plan
from benchmarks.report.bases import bases
from benchmarks.report.found import Found
from benchmarks.report.pages import results_page
from benchmarks.results import Results

from .test_sequence_report import run_of, runs_of

MACHINE = {"bfloat16": False, "card": "", "processor": "x", "cores": 1, "torch": "2"}


def found_of(name: str, by_method) -> Found:
    plan = read_plan(name)
    results = Results.of(plan)
    for method, runs in by_method.items():
        for cell, figures in runs.items():
            results.add(plan, Cell(method, cell.arguments), figures, {"benchmarks/sequence": ""}, MACHINE)
    return Found(name, plan, results)


@pytest.fixture
def both() -> tuple[Found, Found]:
    own = {
        "ridge": runs_of([10.0, 12.0], 0, refused=4.0),
        "ours": runs_of([11.0], 5),
        "head": runs_of([9.0], 7),
    }
    other = {"ridge": runs_of([13.0, 14.0, 90.0], 10), "ours": {Cell("", (0, 0)): run_of(15.0, data="y")}}
    return found_of("sequence_whisper", own), found_of("sequence", other)


def rows_of(page: list[str]) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in page if line.startswith("| ")]


def test_only_the_same_orders_on_the_same_recordings_stand_side_by_side(both):
    rows = rows_of(bases(*both))
    methods = [row for row in rows if row[0] == "the readout alone (ridge regression)"]
    assert len(methods) == 1 and not [
        row for row in rows if row[0] in ("**ours**", "head alone, experience replay")
    ]
    _title, orders, test, theirs, apart, *rest = methods[0]
    assert (orders, test, theirs) == ("2", "11.0", "13.5") and apart.startswith("-2.50 [-")
    assert rest[-4:] == ["4.0", "2.0", "60", "60"]
    assert ["lpc", "test", "11.0", "13.5"] in rows and ["world", "development", "11.0", "13.5"] in rows


def test_nothing_is_compared_where_nothing_is_shared(both):
    own, other = both
    page = "\n".join(bases(own, replace(other, results=Results.of(other.plan))))
    assert "whisper-base" in page and "the embedded base" in page and "Attacks" not in page


def test_the_page_has_a_section_of_its_own(both):
    found = {each.name: each for each in both}
    titles = [line for line in results_page(found).splitlines() if line.startswith("## ")]
    assert titles == ["## A sequence of attacks", "## A sequence of attacks, on another base"]


@pytest.mark.parametrize("name", plan_names())
def test_a_plan_beside_another_differs_from_it_in_the_base_alone(name):
    plan = read_plan(name)
    if plan.beside is not None:
        other = read_plan(plan.beside)
        assert {key: value for key, value in plan.settings.items() if key != "base"} == other.settings
        assert (plan.options, plan.reads, plan.code) == (other.options, other.reads, other.code)
        assert all(
            set(cells) <= set(map(tuple, other.runs[method]))
            for method, cells in ((method, map(tuple, cells)) for method, cells in plan.runs.items())
        )
