"""Names that are not UTF-8, streams that take no text, and places where a result must not go."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from molex_adapt.registry import Store
from molex_adapt.scorefile import read_scores

NOT_UTF8 = os.fsdecode(b"\xff.wav")
WRITTEN = "\\udcff.wav"


@pytest.fixture
def speech(world) -> Path:
    """Two recordings, one with a name that is not UTF-8 and one with a name beyond ASCII."""
    folder = Path("speech")
    folder.mkdir()
    for seed, name in enumerate((NOT_UTF8, "Gerät.wav")):
        with (folder / name).open("wb") as file:  # soundfile itself cannot write such a name
            soundfile.write(file, world.sound(seed, 0.9), 16_000, format="WAV")
    return folder


@pytest.fixture
def stream(monkeypatch) -> Callable[[str], io.BytesIO]:
    """Put stdout into an encoding, strict as Python opens it; what it gets."""

    def put(encoding: str) -> io.BytesIO:
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        return raw

    return put


@pytest.mark.parametrize("options", [[], ["--json"], ["--out", "scores.tsv"]])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_every_name_can_be_scored_into_any_stream(
    world, speech, attempt, stream, monkeypatch, encoding, options
):
    monkeypatch.setenv("COLUMNS", "120")
    raw = stream(encoding)
    status, _, err = attempt(["score", speech, *options])
    assert (status, "error" in err) == (0, False), err
    said = raw.getvalue().decode(encoding)
    if options == ["--json"]:
        assert {Path(item["path"]).name for item in json.loads(said)["scores"]} == {NOT_UTF8, "Gerät.wav"}
    elif options:
        names = {Path(name).name for name in read_scores(world.at / "scores.tsv").filenames}
        assert names == {WRITTEN, "Gerät.wav"}
        assert "not UTF-8: 1; " in err
    else:
        assert WRITTEN in said
        assert ("Ger\\xe4t.wav" if encoding == "ascii" else "Gerät.wav") in said
        lines = [line for line in said.splitlines() if ".wav" in line]
        assert len({line.rindex(".") for line in lines}) == 1  # the scores are aligned


def test_every_name_can_fail(world, speech, attempt, stream):
    (speech / NOT_UTF8).write_text("hello")
    raw = stream("ascii")
    status, _, err = attempt(["score", speech, "--out", "scores.tsv"])
    assert status == 1
    assert WRITTEN in raw.getvalue().decode()
    assert len(read_scores(world.at / "scores.tsv").filenames) == 1
    assert "recordings that failed: 1" in err


def test_every_name_can_be_evaluated_and_analysed(world, attempt, stream):
    data = world.at / "data"
    shutil.copytree(world.hum, data)
    for path in sorted(data.rglob("*.wav"))[::5]:
        path.rename(path.with_name(os.fsdecode(b"\xff" + path.name.encode())))
    for command in ("evaluate", "analyze"):
        for options in ([], ["--json"]):
            raw = stream("ascii")
            status, _, err = attempt([command, data, *options])
            assert status == 0, err
            assert raw.getvalue().isascii()


def test_every_name_can_be_forged(world, speech, attempt):
    status, out, err = attempt(["simulate", "lpc", speech, "out", "--workers", "1", "--json"])
    assert status == 0, err
    assert json.loads(out)["made"] == 2
    rows = (world.at / "out" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 5
    status, _, err = attempt(["score", "out", "--out", "scores.tsv"])
    assert status == 0, err


def test_what_was_done_is_kept_where_nothing_can_be_said(world, speech):
    done = _shell(f"score {speech} --out s.tsv --registry {world.registry} -q --device cpu >&- 2>&- <&-")
    assert done.returncode == 1
    assert len(read_scores(world.at / "s.tsv").filenames) == 2


@pytest.mark.parametrize("options", ["", "--json"])
@pytest.mark.parametrize(
    ("redirect", "says"),
    [(">&-", "standard output is closed"), ("> /dev/full", "the disk is full"), ("| true", "")],
)
def test_the_status_is_that_of_what_is_in_force_not_of_the_report(world, redirect, options, says):
    """A generation that is active is no failure, whoever could read of it."""
    before = Store.open(world.registry).record().active
    done = _shell(f"rollback --registry {world.registry} {options} {redirect}; echo $? >&2")
    assert Store.open(world.registry).record().active == before - 1
    *said, status = done.stderr.splitlines()
    assert status == "0"
    assert len(said) == bool(says) and says in "".join(said)


@pytest.mark.parametrize("options", ["", "--json"])
@pytest.mark.parametrize(
    ("redirect", "status", "says"),
    [(">&-", 1, "error: standard output is closed"), ("2>&-", 0, ""), ("<&-", 0, ""), (">&- 2>&-", 1, "")],
)
def test_closed_streams(world, redirect, status, says, options):
    """A result that could not be printed is a failure."""
    done = _shell(f"history --registry {world.registry} {options} {redirect}")
    assert done.returncode == status
    assert done.stderr.startswith(says) if says else done.stderr == ""


def test_a_full_stdout_is_one_message(world):
    done = _shell(f"history --registry {world.registry} --json > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["--help", "score --help", "score", "nonsense", "--version"])
def test_help_and_usage_in_ascii(world, command):
    done = _shell(command, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C", PYTHONCOERCECLOCALE="0")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_a_name_reads_the_same_in_every_locale():
    """In the C locale Python takes each byte beyond ASCII for none of its own."""
    code = "import sys; from molex_adapt.scorefile import line_name; print(ascii(line_name(sys.argv[1])))"
    for setting in ("C", "C.UTF-8"):
        done = subprocess.run(
            [sys.executable, "-c", code, "Gerät.wav".encode()],
            env=os.environ | {"LC_ALL": setting, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "'Ger\\xe4t.wav'\n"


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m molex_adapt {line}"],
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


CASES: dict[str, tuple[Callable[[Any], list[Any]], int, str, str]] = {
    "scores over a recording": (
        lambda w: [
            "score",
            w.hum / "bonafide",
            "--out",
            shutil.copy(next(w.hum.rglob("*.wav")), w.at / "a.wav"),
        ],
        1,
        "a.wav is there already and is a WAV recording",
        "Name another file",
    ),
    "scores over their own recording": (
        lambda w: ["score", *[shutil.copy(next(w.hum.rglob("*.wav")), w.at / "a.wav")] * 2, "--out", "a.wav"],
        1,
        "a.wav is to be read and written at once",
        "Name another file",
    ),
    "scores over a key": (
        lambda w: ["score", "HUM", "--out", w.text("key.tsv", "filename\tcm-label\na\tspoof\n")],
        1,
        "key.tsv is there already and is a text",
        "Name another file",
    ),
    "scores over the registry": (
        lambda w: ["score", "HUM", "--out", w.registry / "registry.yaml"],
        1,
        "registry.yaml is there already and is a text",
        "Name another file",
    ),
    "scores into a folder": (
        lambda w: ["score", "HUM", "--out", w.at],
        1,
        "place is a folder",
        "Name a file in it",
    ),
    "scores into a name of two lines": (
        lambda w: ["score", "HUM", "--out", "a\nb.tsv"],
        1,
        r"a\\nb.tsv' has a control character",
        "Choose a name",
    ),
    "forgeries into the speech": (
        lambda w: ["simulate", "lpc", w.hum / "bonafide", w.hum / "bonafide" / "lpc"],
        1,
        "lpc lies in .*bonafide, which is read",
        "Choose a folder apart",
    ),
    "forgeries over the registry": (
        lambda w: ["simulate", "lpc", w.hum / "bonafide", w.registry],
        1,
        "is not a folder that simulate made",
        "choose another",
    ),
    "the demonstration over the registry": (
        lambda w: ["demo", "--speech", w.hum / "bonafide", "--out", w.registry],
        1,
        "is not a folder that demo made",
        "choose another",
    ),
    "a recipe over a recording": (
        lambda w: [
            "reproduce",
            "buzz",
            "--save-recipe",
            shutil.copy(next(w.hum.rglob("*.wav")), w.at / "a.wav"),
        ],
        1,
        "a.wav is there already and is a WAV recording",
        "Name another file",
    ),
    "a recipe into nowhere": (
        lambda w: ["reproduce", "buzz", "--save-recipe", "no/such.yaml"],
        1,
        "no/such.yaml cannot be written",
        "Choose another place",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_result_goes_over_nothing_of_another_kind(world, refuses, name):
    build, status, named, remedy = CASES[name]
    refuses(build(world), status, named, remedy)


def test_data_of_any_name_can_be_learnt_from(world, attempt, monkeypatch):
    data = Path(os.fsdecode(b"data \xff"))
    shutil.copytree(world.hum, data)
    for path in sorted(data.rglob("*.wav"))[::5]:
        path.rename(path.with_name(os.fsdecode(b"\xff" + path.name.encode())))
    monkeypatch.setattr(sys, "argv", ["molex-adapt", "add-expert", str(data)])  # what a registry remembers
    status, _, err = attempt(world.add(data, "--set", "gate.tolerance=1", "--accept"))
    assert status == 0, err
    assert attempt(["verify"])[0] == 0
    assert attempt(["history"])[0] == 0


def test_a_recording_named_twice_is_scored_once(speech, attempt):
    one = speech / "Gerät.wav"
    status, out, err = attempt(["score", one, speech, one, "--json"])
    assert (status, len(json.loads(out)["scores"])) == (0, 2), err


def test_a_new_registry_needs_a_place_before_its_base_is_loaded(world, attempt, monkeypatch):
    loaded: list[Any] = []
    monkeypatch.setattr("molex_adapt.base.load_base", lambda *given: loaded.append(given))
    (world.at / "mine.txt").touch()
    status, _, err = attempt(["init", "lab/base", "--registry", world.at])
    assert (status, loaded) == (1, [])
    assert "is not empty" in err
