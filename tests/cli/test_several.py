"""The command line as one of several processes: one speaks and writes, the others do nothing twice."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from molex_adapt.cli import several
from molex_adapt.cli.app import main
from molex_adapt.processes import are_several, gathered, is_first
from molex_adapt.shipped import registry_path
from tests.forking import forked
from tests.several import in_two


def said(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    several._FIRST_SPEAKS = 0.2  # in a fork
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as left:
            return int(left.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("a command leaves by SystemExit")


def test_only_the_first_speaks_and_writes(sound, tmp_path):
    import soundfile

    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", sound(number), 16_000)
    (tmp_path / "9.wav").write_bytes(b"no audio")
    out = tmp_path / "scores.csv"
    score = ("score", str(tmp_path), "--registry", str(registry_path()), "--device", "cpu", "--out", str(out))
    first, second = in_two(said, *score)
    assert (first[0], second) == (1, (0, "", ""))
    assert "3 scores written to" in first[1]
    assert "recordings that failed: 1" in first[2]
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["0.wav", "1.wav", "2.wav", "9.wav"]
    assert [bool(row["score"]) for row in rows] == [True] * 3 + [False]
    assert not list(tmp_path.glob(".scores*"))


def test_what_does_not_divide_runs_once(tmp_path):
    first, second = in_two(said, "list", "--registry", str(registry_path()), "--json")
    assert (first[0], first[1].count("\n")) == (0, 1)
    assert second == (0, "", "")
    exemplars = in_two(said, "analyze", "--registry", str(registry_path()), "--json")
    assert [bool(out) for _, out, _ in exemplars] == [True, False]
    scores, key = tmp_path / "scores.tsv", tmp_path / "key.csv"
    scores.write_text("filename\tcm-score\na\t1.0\nb\t-1.0\n")
    key.write_text("path,label\na,bonafide\nb,spoof\n")
    measured = in_two(said, "evaluate", "--scores", str(scores), "--key", str(key), "--json")
    assert [(status, bool(out)) for status, out, _ in measured] == [(0, True), (0, False)]


def test_a_fault_is_told_by_the_first_and_later_by_the_others(tmp_path):
    nowhere = ("evaluate", str(tmp_path), "--registry", str(tmp_path / "none"))
    started = time.monotonic()
    first, second = in_two(said, *nowhere)
    assert time.monotonic() - started >= 0.2
    assert (first[0], second[0]) == (1, 1)
    assert str(tmp_path / "none") in first[2]
    assert first[2] == second[2]
    assert first[1] == second[1] == ""


def test_places_that_are_none_are_an_error(monkeypatch, run):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "2")
    ran = run("list")
    assert ran.status == 1
    assert "RANK=3 and WORLD_SIZE=2 name no process of several" in ran.err


def alone_inside(command: str) -> list[bool]:
    with several.as_one_of_several(command):
        found = are_several()
    return gathered(found and is_first())


def test_training_divides_and_a_demonstration_does_not(monkeypatch):
    assert in_two(alone_inside, "train") == [[True, False]] * 2
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with several.as_one_of_several("demo"):
        assert not are_several()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as left, several.as_one_of_several("demo"):
        pass
    assert not left.value.code


@pytest.mark.slow
def test_accelerate_launches_it(sound, tmp_path, monkeypatch):
    import soundfile
    from accelerate.commands import launch

    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", sound(number), 16_000)
    shutil.copytree(registry_path(), tmp_path / "registry")
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    how += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "molex_adapt"]
    score = ["score", str(tmp_path), "--registry", str(tmp_path / "registry"), "--device", "cpu", "--json"]
    (tmp_path / "said").mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    monkeypatch.setattr(sys, "argv", ["accelerate", *how, *score])
    # The launcher alone is a fork, which need not import torch once more; what it launches are processes of their own.
    status, out, err = forked(launch.main, tmp_path / "said", environment)
    assert status == 0, err
    assert out.count("\n") == 1
    assert "score (2) ..." in err
