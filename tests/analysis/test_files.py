"""What `analyze --out` leaves: every number in three formats, every figure in two, and nothing of others replaced."""

from __future__ import annotations

import csv
import json

import pytest

from molex_adapt.analysis import files
from molex_adapt.analysis.files import check_report_folder, write_report
from molex_adapt.analysis.flat import DomainChange, flat_tables
from molex_adapt.analysis.last import last_expert
from molex_adapt.errors import DataError, RecipeError
from molex_adapt.registry import GenerationRecord
from tests.analysis.reports import analysed


def test_every_number_and_figure_is_there_as_a_file(tmp_path):
    report = analysed(3, 2)
    out = tmp_path / "made" / "report"
    write_report(report, out, [DomainChange("attack_00", 0.2, 0.1, None)])
    assert json.loads((out / "analysis.json").read_text()) == json.loads(json.dumps(report.as_dict()))
    tables = {table.name: table for table in flat_tables(report, [DomainChange("attack_00", 0.2, 0.1, None)])}
    assert len(tables) == 17
    assert {path.stem for path in (out / "tables").glob("*.csv")} == set(tables)
    assert {path.stem for path in (out / "tables").glob("*.parquet")} == set(tables)
    with (out / "tables" / "usage.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["attack"], row["expert"]): float(row["gate"]) for row in rows} == {
        (name, expert): share for name, row in report.usage.items() for expert, share in row.items()
    }
    from pyarrow import parquet

    assert parquet.read_table(out / "tables" / "cells.parquet").to_pylist() == tables["cells"].records()
    assert len(tables["cells"].rows) == 4 * 2 * 2 * 3  # speech, conditions, blocks, experts
    drawn = {path.stem for path in (out / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (out / "figures").glob("*.png")}
    assert drawn == {
        "usage",
        "errors",
        "witnesses",
        "needed",
        "families",
        "depth",
        "last_expert",
        "blocks",
        "ablation",
        "scores",
        "det",
    }
    for path in (out / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 2000
    assert "attack_00" in (out / "figures" / "usage.svg").read_text()
    assert (out / "report.html").stat().st_size > 500_000


def test_a_folder_gives_way_to_an_analysis_only_if_one_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_draw", lambda *_: None)
    monkeypatch.setattr(files, "page", lambda *_: "a page")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.html").write_text("mine")
    with pytest.raises(DataError, match="holds thesis.html"):
        write_report(analysed(2, 2, tested=False), other)
    out = tmp_path / "out"
    write_report(analysed(2, 2), out)
    assert (out / "tables" / "distances.csv").exists()
    write_report(analysed(2, 2, tested=False), out)
    assert not (out / "tables" / "distances.csv").exists()
    with pytest.raises(DataError, match="Choose a folder apart"):
        check_report_folder(tmp_path / "data" / "in", [tmp_path])


def test_what_a_kill_left_is_no_reason_to_refuse_its_folder(tmp_path, monkeypatch):
    def killed(path, **_):
        if path.name == files.TABLES:
            raise KeyboardInterrupt

    with monkeypatch.context() as kill:
        kill.setattr(files.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            write_report(analysed(2, 2), tmp_path)
    check_report_folder(tmp_path)
    (tmp_path / ".staging-0123.json").touch()
    check_report_folder(tmp_path)


def test_what_is_not_installed_is_said_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"altair and vl_convert.*pip install 'molex-adapt\[report\]'"):
        check_report_folder(tmp_path / "out")


def record(number: int, parent: int | None, names: str, **figures: tuple[float, float]) -> GenerationRecord:
    return GenerationRecord.model_validate(
        {
            "number": number,
            "parent": parent,
            "experts": [{"name": name, "sha256": "ab" * 32} for name in names],
            "calibration": {"scale": 1.0, "offset": 0.0},
            "threshold": 0.0,
            "metrics": {domain: {"eer": after} for domain, (after, _) in figures.items()},
            "changes": {
                domain: {"eer": rise, "eer_ci": [rise - 0.01, rise + 0.01]}
                for domain, (_, rise) in figures.items()
            },
            "files": {},
        }
    )


def test_the_last_expert_is_that_of_the_newest_ancestor_that_added_one():
    history = [
        record(1, None, "a"),
        record(2, 1, "ab", x=(0.1, -0.2), y=(0.05, 0.01)),
        record(3, 2, "ab", x=(0.4, 0.3)),  # another threshold
        record(4, 1, "ac", x=(0.3, 0.1)),
    ]
    found = {item.domain: item for item in last_expert(history, 3)}
    assert found.keys() == {"x", "y"}
    assert (found["x"].before, found["x"].after) == (pytest.approx(0.3), 0.1)
    assert found["x"].change_ci == pytest.approx((-0.21, -0.19))
    assert [item.after for item in last_expert(history, 4)] == [0.3]
    assert last_expert(history, 1) == last_expert(history, None) == []
