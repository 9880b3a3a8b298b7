"""Tables of scores hold all that was found, and are read back as scores."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from molex_adapt.data import Failed, Heard, remarks_on
from molex_adapt.data.formats import read_rows
from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_files
from molex_adapt.reports import RecordingScore, ScoreReport
from molex_adapt.scoretable import COLUMNS, read_table, write_table

HEARD = Heard(0.4, -26.0, 8_000.0, 0.0, 0.0)
REPORT = ScoreReport(
    (
        RecordingScore(
            "a,b.wav", 1 / 3, 2.5, HEARD, remarks_on(HEARD), "cannot_tell", 0.58, {"x": 0.3, "y": 0.7}
        ),
        RecordingScore("Gerät.wav", -7.25, 1.0),
    ),
    (Failed("c.wav", "silent"),),
)
NAMES = ["a,b.wav", "Gerät.wav"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_row_for_every_recording_also_for_those_that_failed(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    write_table(path, REPORT, NAMES)
    write_table(path, REPORT, NAMES)  # over its own kind
    columns, rows = read_rows(path)
    one, two, failed = (row for _, row in rows)
    assert set(columns) == set(COLUMNS)
    assert (one["decision"], one["remarks"], one["experts"]) == ("cannot_tell", "short", "y=0.700 x=0.300")
    assert float(one["speech_seconds"]) == 0.4 and float(two["score"]) == -7.25
    assert (failed["path"], failed["reason"], failed.get("score") or None) == ("c.wav", "silent", None)
    scores = read_table(path)
    assert scores.filenames == tuple(NAMES) and scores.values.tolist() == [1 / 3, -7.25]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_is_evaluated_like_a_score_file(tmp_path, suffix):
    write_table(tmp_path / f"s.{suffix}", REPORT, NAMES)
    (tmp_path / "k.csv").write_text('path,label\n"x/a,b.flac",real\nx/Gerät.wav,fake\n', encoding="utf-8")
    assert evaluate_files(tmp_path / f"s.{suffix}", tmp_path / "k.csv").overall.eer == 0


def test_a_manifest_does_not_give_way_to_scores(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\na.wav,real\n")
    with pytest.raises(DataError, match="not a table of scores"):
        write_table(tmp_path / "m.csv", REPORT, NAMES)
    with pytest.raises(DataError, match="no columns path and score"):
        read_table(tmp_path / "m.csv")


@pytest.mark.parametrize("score", ["nan", "high", "inf"])
def test_a_score_that_is_no_number_is_named(tmp_path, score):
    (tmp_path / "s.csv").write_text(f"path,score,decision\na.wav,1,\nb.wav,{score},\n")
    with pytest.raises(DataError, match="row 3: score"):
        read_table(tmp_path / "s.csv")


@pytest.mark.parametrize("row", ['{"score": 2}', '{"path": null, "score": 2}', '{"path": "", "score": 2}'])
def test_a_row_without_a_path_is_named(tmp_path, row):
    (tmp_path / "s.jsonl").write_text(f'{{"path": "a.wav", "score": 1}}\n{row}\n')
    with pytest.raises(DataError, match="s.jsonl, row 2: no path.*Mend that row"):
        read_table(tmp_path / "s.jsonl")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_name_that_is_not_utf_8_costs_no_scores(tmp_path, suffix):
    """The reason of a failure names the file too; so may a key."""
    report = replace(REPORT, failed=(Failed("\udcff.wav", "\udcff.wav is silent"),))
    write_table(tmp_path / f"s.{suffix}", report, ["\udcfe.wav", "b.wav"])
    *_, failed = (row for _, row in read_rows(tmp_path / f"s.{suffix}")[1])
    assert (failed["path"], failed["reason"]) == ("\\udcff.wav", "\\udcff.wav is silent")
    assert read_table(tmp_path / f"s.{suffix}").filenames == ("\\udcfe.wav", "b.wav")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_goes_through_a_link_in_the_format_of_its_own_suffix(tmp_path, suffix):
    link = tmp_path / f"latest.{suffix}"
    link.symlink_to("monday.table")
    write_table(link, REPORT, NAMES)
    write_table(link, REPORT, NAMES)  # over its own kind
    assert link.is_symlink() and (tmp_path / "monday.table").is_file()
    assert read_table(link).filenames == tuple(NAMES)


def test_a_table_goes_into_a_pipe(tmp_path):
    pipe, read = tmp_path / "pipe.csv", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    write_table(pipe, REPORT, NAMES)
    reader.join(10)
    assert pipe.is_fifo()
    assert read[0].startswith("path,score,decision,") and read[0].count("\n") == 4


def test_a_write_that_fails_leaves_the_old_table_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "s.csv"
    write_table(path, REPORT, NAMES)
    old = path.read_bytes()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match="s.csv cannot be written.*disk full"):
        write_table(path, REPORT, NAMES[::-1])
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.csv"]
