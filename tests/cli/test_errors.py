from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from molex_adapt.cli.output import to_json
from molex_adapt.data import Failed
from molex_adapt.errors import ExpertError, MolexError

ARGUMENTS = ("add-expert", "data/", "--domain", "d", "--json", "-q")


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (ExpertError("Expert 'x' has rank 4; the registry has 8. Train it again."), 1, "rank 4"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x.flac"), 1, "out/x.flac: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 1, "/root/x: no permission"),
        (FileNotFoundError(errno.ENOENT, "No such file", "gone"), 1, "gone: No such file"),
        (MemoryError(), 1, "out of memory"),
        (OutOfMemoryError("CUDA out of memory\nlong story"), 1, "--micro-batch"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_known_errors_are_one_message_and_a_status(run, api, error, status, expected):
    api.answers["add_expert"] = error
    ran = run(*ARGUMENTS)
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.startswith("error: ")
    assert expected in ran.err
    assert "Traceback" not in ran.err


def test_what_is_in_force_is_said_where_its_report_is_interrupted(run, api, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("molex_adapt.cli.output._print", interrupt)
    ran = run(*ARGUMENTS[:-1])
    assert ran.status == 130
    assert "is active, but the report was interrupted" in " ".join(ran.err.split())


def test_brackets_in_messages_are_not_markup(run, api):
    api.answers["add_expert"] = MolexError("data/[bold]x[/bold].wav is [red]broken")
    assert "data/[bold]x[/bold].wav is [red]broken" in run(*ARGUMENTS).err


def test_debug_shows_the_traceback(run, api, monkeypatch):
    monkeypatch.setenv("MOLEX_DEBUG", "1")
    api.answers["add_expert"] = ExpertError("bad")
    with pytest.raises(ExpertError):
        run(*ARGUMENTS)


def test_our_own_faults_keep_their_traceback(run, api):
    api.answers["add_expert"] = ValueError("a fault of the program")
    with pytest.raises(ValueError, match="a fault of the program"):
        run(*ARGUMENTS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["add-expert"],
        ["add-expert", "data/"],
        ["add-expert", "data/", "--domain", "d", "--seed", "minus"],
        ["add-expert", "data/", "--domain", "d", "--seed", "-1"],
        ["add-expert", "data/", "--domain", "d", "--device", "tpu"],
        ["train", "data/", "--domain", "d", "--experts", "0"],
        ["score"],
        ["list", "--no-such-option"],
    ],
)
def test_wrong_usage_is_status_2(run, api, arguments):
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert api.calls == []


def test_a_figure_that_is_none_is_an_error_and_nothing_is_printed(run, api):
    report = api.answers["evaluate"]
    api.answers["evaluate"] = replace(report, overall=replace(report.overall, eer=float("nan")))
    ran = run("evaluate", "data/", "--json")
    assert (ran.status, ran.out) == (1, "")
    assert "overall.eer is nan" in ran.err


def test_json_names_the_place_of_a_figure_that_is_none():
    with pytest.raises(MolexError, match=r"a\.b\[1\] is inf"):
        to_json({"a": {"b": [0.0, float("inf")]}})


def test_wrong_values_are_listed(run, api, tmp_path):
    ran = run("simulate", "null", tmp_path, tmp_path / "out", "--condition", "finish:codec=mp4,band=[1]")
    assert ran.status == 1
    assert "codec = 'mp4'" in ran.err and "band = [1]" in ran.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_traceback(registry, options):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "molex_adapt", "history", "--registry", str(registry), *options],
        stdout=writing,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_package_is_a_module_to_run():
    done = subprocess.run(
        [sys.executable, "-m", "molex_adapt", "score"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "molex-adapt score" in done.stderr


@pytest.mark.parametrize(
    "command", ["evaluate", "analyze", "train", "add-expert", "retrain-router", "set-threshold"]
)
def test_a_part_that_failed_means_the_same_to_every_command(run, api, command):
    name = command.replace("-", "_")
    arguments = [command, "data/", *(["--domain", "d"] if command in ("train", "add-expert") else [])]
    assert run(*arguments).status == 0
    api.answers[name] = replace(api.answers[name], failed=(Failed("data/a.wav", "cannot be decoded"),))
    ran = run(*arguments, "--json")
    assert (ran.status, ran.json["failed"]) == (1, [{"path": "data/a.wav", "reason": "cannot be decoded"}])
    assert run(*arguments, "--allow-failures").status == 0
