from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from molex_adapt.reports import RecordingScore
from molex_adapt.scorefile import read_scores
from molex_adapt.scoretable import read_table


def test_score_writes_a_score_file(run, api, tmp_path):
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv", "--allow-failures")
    assert ran.status == 0
    written = read_scores(tmp_path / "scores.tsv")
    assert written.filenames == ("a/one.wav", "a/two.flac")
    assert list(written.values) == [2.5, -1.25]
    assert "2 scores written" in " ".join(ran.out.split())


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_scores_are_written_in_the_format_of_the_suffix(run, api, tmp_path, suffix):
    out = tmp_path / f"scores.{suffix}"
    assert run("score", "a/", "--out", out, "--allow-failures").status == 0
    assert read_table(out).filenames == ("a/one.wav", "a/two.flac")
    assert api.last("score")["journal"] == tmp_path / f".scores.{suffix}.partial"


def test_scores_are_named_as_the_key_has_them(run, api, tmp_path):
    (tmp_path / "key.txt").write_text(
        "LA_1 one - A07 spoof\nLA_1 two - - bonafide\nLA_1 three - - bonafide\n"
    )
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "key.txt", "--allow-failures")
    assert ran.status == 0
    assert read_scores(tmp_path / "s.tsv").filenames == ("one", "two")
    (tmp_path / "key.txt").write_text("LA_1 one - A07 spoof\n")
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "key.txt", "--allow-failures")
    assert read_scores(tmp_path / "s.tsv").filenames == ("one", "a/two.flac")
    assert "named as they are: 1 (a/two.flac)" in ran.err


def test_a_broken_key_is_told_before_any_scoring(run, api, tmp_path):
    (tmp_path / "k.txt").write_text("what is this\n")
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "k.txt")
    assert ran.status == 1 and "k.txt" in ran.err
    assert "score" not in [name for name, _ in api.calls]


def test_score_of_nothing_usable_is_status_1(run, api, tmp_path):
    api.answers["score"] = replace(api.answers["score"], scores=())
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv", "--json")
    assert ran.status == 1
    assert ran.json["scores"] == []
    assert not (tmp_path / "scores.tsv").exists()


def test_a_recording_that_failed_is_status_1_when_all_others_are_written(run, api, tmp_path):
    out = tmp_path / "scores.tsv"
    ran = run("score", "a/", "--out", out)
    assert ran.status == 1
    assert "recordings that failed: 1; so the exit status is 1, or 0 with --allow-failures" in ran.err
    assert read_scores(out).filenames == ("a/one.wav", "a/two.flac")
    allowed = run("score", "a/", "--out", out, "--allow-failures")
    assert (allowed.status, "so the exit status" in allowed.err) == (0, False)
    assert "too short" in allowed.out


def test_what_cannot_be_written_in_the_end_is_shown(run, api, tmp_path, monkeypatch):
    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("molex_adapt.scorefile.write_output", full)
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv")
    assert ran.status == 1
    assert "+2.50" in ran.out
    assert "No space left on device" in ran.err
    assert run("score", "a/", "--out", tmp_path / "scores.tsv", "--json").json["scores"][0]["score"] == 2.5


def test_names_that_no_score_file_holds_are_put_so_that_it_does(run, api, tmp_path):
    scores = (
        RecordingScore("a\tb.wav", 1.0, 1.0),
        RecordingScore("\udcff.wav", 2.0, 1.0),
        RecordingScore("c.wav", 3.0, 1.0),
        RecordingScore("gr\udcc3\udcb6n.wav", 4.0, 1.0),  # as Python reads a name in the C locale
    )
    api.answers["score"] = replace(api.answers["score"], scores=scores, failed=())
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv")
    assert ran.status == 0
    written = read_scores(tmp_path / "scores.tsv").filenames
    assert written == ("a\\tb.wav", "\\udcff.wav", "c.wav", "grön.wav")
    assert "not UTF-8: 2; " in ran.err
    assert r"such as a\tb.wav" in ran.err
    assert [item["path"] for item in run("score", "a/", "--json").json["scores"]] == [
        item.path for item in scores
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.wav", b"RIFF\x24\0\0\0WAVE", "a.wav is there already and is a WAV recording of 12 bytes"),
        ("k.tsv", b"filename\tcm-label\na\tspoof\n", "k.tsv is there already and is a text"),
        ("none/s.tsv", None, "none is no folder"),
        (".", None, "is a folder; a score file is a file"),
        ("a\tb", None, "control character in its name"),
    ],
)
def test_the_place_of_a_score_file_is_looked_at_before_anything_is_scored(
    run, api, tmp_path, name, content, says
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = run("score", "a/", "--out", tmp_path / name)
    assert (ran.status, ran.out, api.calls) == (1, "", [])
    assert says in " ".join(ran.err.split())
    if content is not None:
        assert (tmp_path / name).read_bytes() == content


def test_scores_can_be_written_for_the_arena(run, api, tmp_path):
    out = tmp_path / "scores.txt"
    assert run("score", "a/", "--out", out, "--format", "arena", "--allow-failures").status == 0
    assert out.read_text() == "a/one.wav 2.5\na/two.flac -1.25\n"
    for wrong in ([], ["--out", tmp_path / "s.csv"]):
        assert run("score", "a/", "--format", "arena", *wrong).status == 2
