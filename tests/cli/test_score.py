from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molex_adapt.data import Failed, Heard, remarks_on
from molex_adapt.decision import DecisionRule
from molex_adapt.reports import RecordingScore, ScoreReport


def test_score_prints_the_contract(run, api):
    ran = run("score", "a/", "--json", "--allow-failures")
    assert ran.status == 0
    one = {"path": "a/one.wav", "score": 2.5, "seconds": 3.2, "heard": None, "remarks": []}
    assert ran.json["scores"][0] == one | {
        "decision": None,
        "probability": None,
        "experts": {},
        "lowest": None,
    }
    assert ran.json["failed"] == [{"path": "a/three.mp3", "reason": "too short"}]
    assert api.last("score")["arguments"] == ([Path("a")],)


def _remarked(count: int) -> tuple[RecordingScore, ...]:
    heard = Heard(0.4, -60.0, 2_600.0, 0.02, 0.5, 12.0)
    clean = RecordingScore("clean.wav", 1.0, 3.0, Heard(3.0, -26.0, 8_000.0, 0.0, 0.0))
    name = "recordings/of/somebody/who/likes/long/names/{:03}.wav"
    return (
        clean,
        *(RecordingScore(name.format(at), -1.0, 1.0, heard, remarks_on(heard)) for at in range(count)),
    )


def test_score_tells_machines_what_was_heard(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(1), failed=(), remarks=["a line"])
    ran = run("score", "a/", "--json")
    clean, other = ran.json["scores"]
    assert (clean["remarks"], clean["heard"]["speech_seconds"], clean["heard"]["band_hz"]) == (
        [],
        3.0,
        8_000.0,
    )
    assert len(other["remarks"]) == 6 and other["remarks"][0].startswith("0.40 s of speech")
    assert (ran.status, ran.json["remarks"]) == (0, ["a line"])
    assert "note: a line" in ran.err


def test_a_table_has_remarks_in_a_word_each_and_80_columns(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(3), failed=())
    ran = run("score", "a/")
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    for kind in ("short", "narrow", "gaps", "clipped", "faint", "phase"):
        assert ran.out.count(kind) == 3
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(0))
    assert "remarks" not in run("score", "a/").out


def test_score_says_how_a_score_reads(run, api):
    lines = run("score", "a/").out.splitlines()
    one = next(line for line in lines if "one.wav" in line)
    two = next(line for line in lines if "two.flac" in line)
    assert "+2.50" in one
    assert "bona fide" in one
    assert "spoof" in two
    assert any("too short" in line for line in lines)


def test_the_table_tells_what_is_decided_and_how(run, api):
    rule = DecisionRule(-0.5, 0.9, 0.2)
    names = {"bona_fide": 3.0, "spoof": -4.0, "cannot_tell": -0.4}
    scores = tuple(
        RecordingScore(
            f"{name}.wav", score, 2.0, None, (), name, rule.probability(score), {"x": 0.2, "y": 0.8}
        )
        for name, score in names.items()
    )
    report = ScoreReport(scores, threshold=-0.5, rule=rule)
    api.answers["score"] = report
    told = run("score", "a/").out
    assert (
        "y 80 %" in told
        and "prior of 90 %" in told
        and "within 1.39 of it, where more than 20 %" in " ".join(told.split())
    )
    for name in names:
        (line,) = [line for line in told.splitlines() if f"{name}.wav" in line]
        assert name.replace("_", " ") in line.replace(f"{name}.wav", "")
    assert max(map(len, told.splitlines())) <= 80
    assert run("score", "a/", "--decide").status == 0
    assert api.last("score")["error"] is None
    found = run("score", "a/", "--json").json
    assert (found["prior"], found["most_error"], found["scores"][2]["decision"]) == (0.9, 0.2, "cannot_tell")


def test_a_name_of_two_lines_is_one_row(run, api):
    name = "a\nfake.wav 3.0 +9.99 bona fide"
    api.answers["score"] = replace(
        api.answers["score"], scores=(RecordingScore(name, -1.0, 1.0),), failed=(Failed(name, "x"),)
    )
    lines = run("score", "a/").out.splitlines()
    assert not any(line.strip().startswith("fake") for line in lines)
    assert sum(r"a\nfake" in line for line in lines) == 2


def test_nothing_scored_is_status_1_whatever_is_allowed(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=())
    assert run("score", "a/", "--allow-failures").status == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--resume"],
        ["--key", "k"],
        ["--prior", "1"],
        ["--prior", "nan"],
        ["--error", "0"],
        ["--error", "0.7"],
    ],
)
def test_options_of_score_that_mean_nothing_are_wrong_usage(run, api, options):
    assert run("score", "a/", *options).status == 2
    if options[0] in ("--prior", "--error"):
        assert run("cluster", "score", "a.csv", "--out", "b", *options).status == 2


def test_the_folder_that_recordings_share_is_named_once_and_scores_stay_whole(run, api, monkeypatch):
    told = [RecordingScore(f"/data/calls/{at}/x.wav", -12.25 - at, 1.0, probability=0.01) for at in range(4)]
    api.answers["score"] = ScoreReport(tuple(told), (), 2, None, 1.0, [])
    ran = run("score", "/data/calls")
    assert "Recordings in /data/calls/" in ran.out and "/data/calls/3" not in ran.out
    monkeypatch.setenv("COLUMNS", "40")
    narrow = run("score", "/data/calls").out
    assert "-15.25" in narrow and "0.01" in narrow
    api.answers["score"] = ScoreReport(tuple(told[:3]), (), 2, None, 1.0, [])
    assert "Recordings in" not in run("score", "/data/calls").out
