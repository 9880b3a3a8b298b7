from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from molex_adapt.cli import output
from molex_adapt.cli.tables import comparison_table, eer_cell, plain_table, stage_table
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.reports import Change, Comparison, StageReport


@pytest.fixture
def shown(monkeypatch) -> Callable[[list[tuple[str, str]]], list[str]]:
    def lines(rows: list[tuple[str, str]]) -> list[str]:
        file = io.StringIO()
        monkeypatch.setattr(output, "stdout", lambda: Console(file=file, width=40))
        output.show(plain_table("names", ("name", "n"), rows))
        return file.getvalue().splitlines()

    return lines


def test_a_long_table_has_every_row_aligned_and_whole(shown):
    names = ["短い", "x" * 60, *(f"expert-{number}" for number in range(600))]
    lines = shown([(name, "7") for name in names])
    assert lines[0] == "names" and lines[1].split() == ["name", "n"]
    assert [line.rsplit(maxsplit=1)[0] for line in lines[2:]] == names
    assert {cell_len(line) for line in lines[1:]} == {63}


def test_a_short_table_folds_what_is_too_wide(shown):
    assert max(map(len, shown([("x" * 60, "7")]))) <= 40


def test_the_voice_that_fares_worst_is_named_below_all_real_speech():
    change = RefusalsChange(0.02, 0.02, (-0.01, 0.01), 300, 300)
    voices = {"ann": change, "june": RefusalsChange(0.0, 0.2, (0.05, 0.4), 25, 25)}
    report = StageReport(
        expert="buzz", generation=3, activated=False, before={}, after={}, real_speech=change, voices=voices
    )
    file = io.StringIO()
    Console(file=file, width=80).print(*stage_table(report, Path("my registry")))
    shown = file.getvalue()
    assert "Bona fide speech refused: 2.0 → 2.0 % of 300 recordings, +0.0 points" in shown
    assert "molex-adapt rollback 3 --registry 'my registry'" in shown
    assert "worst of 2 voices, june: 0.0 → 20.0 % of 25 recordings, +20.0 points" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "molex-adapt set-threshold REAL-SPEECH" in shown
    file.truncate(file.seek(0))
    Console(file=file, width=80).print(*stage_table(replace(report, voices={"ann": change}), Path("other")))
    assert "rollback 3" in file.getvalue() and "set-threshold" not in file.getvalue()


def test_wide_intervals_go_below_their_figures_and_break_no_name():
    wide = Rates(0.312, (0.177, 0.5), 0.1, 0.1, 0.1, 16, 16)
    change = Change(0.125, (0.0, 0.323), (0.0, 0.0), (0.75, 0.812), 0.96, 1.49)
    sets, changes = {"neural_vocoder": wide}, {"neural_vocoder": change}
    report = StageReport(expert="buzz", generation=3, activated=True, before=sets, after=sets, change=changes)
    file = io.StringIO()
    Console(file=file, width=80).print(*stage_table(report, Path("my registry")))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (at for at, line in enumerate(lines) if "+12.5 (+0.0 +32.3)" in line)
    assert lines[row].split()[0] == "neural_vocoder"
    assert "(17.7–50.0)" in lines[row] + lines[row + 1]


@pytest.mark.parametrize(
    ("count", "high", "tolerance", "shown"),
    [
        (120, 0.02, 0.03, "+0.0 (-1.0 +2.0)  held"),
        (120, 0.04, 0.03, "+0.0 (-1.0 +4.0)  unclear"),
        (60, 0.02, 0.03, "+0.0 (-1.0 +2.0)  unclear"),  # three in sixty
        (9, 0.02, 0.5, "+0.0              held"),
    ],
)
def test_held_is_what_cannot_have_risen_by_more_than_it_may(count, high, tolerance, shown):
    rates = {"a": Rates(0.02, (0.01, 0.04), 0.1, 0.2, 0.3, 200, count)}
    change = {"a": Change(0.0, (-0.01, high), (0.0, 0.0), (0.0, 0.0), 0.0, 0.0)}
    file = io.StringIO()
    report = Comparison(before=rates, after=rates, change=change, tolerance=tolerance)
    Console(file=file, width=80).print(*comparison_table(report))
    assert " ".join(shown.split()) in " ".join(file.getvalue().split())


@pytest.mark.parametrize(("count", "shown", "told"), [(9, "2.0", None), (10, "2.0 (1.0–4.0)", [0.01, 0.04])])
def test_of_too_few_recordings_no_interval_is_said(count, shown, told):
    rates = Rates(
        eer=0.02, eer_ci=(0.01, 0.04), min_dcf=0.1, act_dcf=0.2, cllr=0.3, bona_fide=50, spoof=count
    )
    assert eer_cell(rates) == shown
    report = Comparison(before={"a": rates}, after={"a": rates}).as_dict()
    assert report["before"]["a"]["eer_ci"] == report["after"]["a"]["eer_ci"] == told
