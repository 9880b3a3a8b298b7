from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from molex_adapt.cli.commands.make import ATTACK_NAMES, CONDITION_NAMES
from molex_adapt.data import Failed, read
from molex_adapt.errors import DataError
from molex_adapt.simulate import ATTACKS, CONDITIONS
from tests.demo.reports import analysed, compared, report_of


@pytest.fixture
def speech(tmp_path) -> Path:
    """Three tones with pauses, as two voices."""
    rng = np.random.default_rng(0)
    for name in ("one/a", "one/b", "two/c"):
        time = np.arange(16_000) / 16_000
        wave = 0.2 * np.sin(
            2 * np.pi * 200 * time * (1 + 0.1 * np.sin(9 * time))
        ) + 0.01 * rng.standard_normal(16_000)
        path = tmp_path / "speech" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 16_000)
    return tmp_path / "speech"


ALONE = ("--workers", 1)
"""Other processes take longer to start than the work."""


def test_simulate_makes_a_data_set(run, speech, tmp_path):
    out = tmp_path / "made"
    ran = run(
        "simulate", "lpc", speech, out, "--condition", "gsm", "--condition", "noise:snr=20", "--json", *ALONE
    )
    assert ran.status == 0
    assert (ran.json["made"], ran.json["failed"], ran.json["attack"]) == (3, [], "lpc")
    assert [item["name"] for item in ran.json["conditions"]] == ["gsm", "noise"]
    assert (ran.json["conditions"][1]["snr"], ran.json["remarks"]) == (20.0, [])
    assert {item.condition for item in read(out)} == {"gsm+noise:snr=20"}
    assert Path(ran.json["manifest"]) == out / "manifest.csv"
    assert read(out).counts() == {"bonafide": 3, "spoof": 3}
    again = run("simulate", "lpc", out, tmp_path / "again", "--set", "order=12", "--limit", 1, "--spoof-only")
    assert again.status == 0
    assert "1 forged" in again.out
    assert read(tmp_path / "again").counts() == {"bonafide": 0, "spoof": 1}


def test_simulate_names_what_it_cannot_read_of_a_folder(run, speech, tmp_path):
    (speech / "empty.wav").touch()
    ran = run("simulate", "lpc", speech, tmp_path / "made", "--json", *ALONE)
    assert (ran.status, ran.json["made"]) == (1, 3)
    assert [item["path"] for item in ran.json["failed"]] == [str(speech / "empty.wav")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["griffin_limb"], "Did you mean 'griffin_lim'"), (["codec2", "--set", "bit_rat=700"], "'bit_rate'")],
)
def test_simulate_explains_wrong_attacks(run, speech, tmp_path, options, expected):
    ran = run("simulate", options[0], speech, tmp_path / "out", *options[1:])
    assert (ran.status, ran.out) == (1, "")
    assert expected in ran.err
    assert not (tmp_path / "out").exists()


def test_the_control_puts_its_copies_alone_through_the_conditions(run, speech, tmp_path):
    ran = run(
        "simulate",
        "null",
        speech,
        tmp_path / "a",
        "--condition",
        "gsm",
        "--condition",
        "level:dbfs=-30",
        "-q",
        *ALONE,
    )
    assert ran.status == 0
    heard = {(item.label, item.condition) for item in read(tmp_path / "a")}
    assert heard == {("bonafide", "none"), ("spoof", "gsm+level:dbfs=-30")}
    both = run(
        "simulate",
        "null",
        speech,
        tmp_path / "b",
        "--set",
        "conditions=[mu_law]",
        "--condition",
        "finish",
        *ALONE,
    )
    assert both.status == 0 and "resample" not in both.err
    heard = {(item.label, item.condition) for item in read(tmp_path / "b")}
    assert heard == {("bonafide", "finish"), ("spoof", "mu_law+finish")}


def test_a_control_without_a_condition_says_which_it_takes(run, speech, tmp_path):
    ran = run("simulate", "null", speech, tmp_path / "out")
    assert ran.status == 0
    assert "to 8 kHz and back (resample)" in " ".join(ran.err.split())
    assert {(item.label, item.condition) for item in read(tmp_path / "out")} == {
        ("bonafide", "none"),
        ("spoof", "resample"),
    }


@pytest.mark.parametrize("name", ["opus", "mp3", "aac", "gsm", "amr_nb"])
def test_a_former_attack_is_answered_with_the_line_to_use(run, speech, tmp_path, name):
    ran = run("simulate", name, speech, tmp_path / "out")
    assert ran.status == 1 and not (tmp_path / "out").exists()
    told = " ".join(ran.err.split())
    assert f"{name} is a condition, not an attack" in told
    assert f"molex-adapt simulate ATTACK IN OUT --condition {name}" in told


def test_the_help_names_every_attack_and_condition():
    for names, known in (
        (ATTACK_NAMES.removesuffix(", the control").replace(", a stretch", ""), ATTACKS),
        (CONDITION_NAMES, CONDITIONS),
    ):
        assert sorted(names.replace(";", ",").replace(" ", "").split(",")) == sorted(known)


@pytest.fixture
def story(monkeypatch, tmp_path):
    """Stands in for `molex_adapt.demo`: tells two steps and gives a report, or fails."""
    notes: dict[str, object] = {}

    def run_demo(out, *, listener, **keywords):
        notes.update(keywords, out=out)
        if keywords["speech"] == Path("empty"):
            raise DataError("empty holds no speech. Expected recordings. Give another folder.")
        listener.step("forging", 1, 2)
        listener.step("measuring", 2, 2)
        listener.reach(1.0)
        experts = ("codec2", "espeak", "griffin_lim", "lpc", "world")
        shares = {name: dict.fromkeys(experts, 0.2) for name in (*experts, "null", "bona_fide")}
        known = dict.fromkeys(("codec2", "espeak", "lpc", "world"), (0.004, 0.006))
        voices = compared("griffin_lim", griffin_lim=(0.24, 0.01), **known, null=(0.5, 0.498))
        made = replace(
            report_of(
                tmp_path,
                {"known voices": voices, "june, never heard": voices},
                analysed(**shares),
                novel="griffin_lim",
            ),
            failed=(Failed("silent.wav", "it is silent"), Failed("mute.wav", "it is silent")),
        )
        return replace(made, page=None) if keywords["speech"] == Path("undrawn") else made

    module = ModuleType("molex_adapt.demo")
    module.run_demo = run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molex_adapt.demo", module)
    return notes


def test_demo_is_calm_a_line_per_step_a_table_per_question_three_answers(run, story):
    ran = run("demo", "--speech", "voices", "--set", "novel=codec2", "--workers", 1)
    assert ran.status == 0
    assert ran.err == "1/2 forging\n2/2 measuring\n"
    questions = ["Does it catch griffin_lim?", "Did it forget?", "Which experts did the work?"]
    answers = [
        "It catches griffin_lim now",
        "It forgot none of the 4 old attacks",
        "On griffin_lim the new expert",
    ]
    assert [ran.out.count(text) for text in (*questions, *answers)] == [1] * 6
    places = [ran.out.index(text) for text in (*questions, *answers)]
    assert places == sorted(places)
    assert "Left out: 2 recordings, the first silent.wav (it is silent)" in ran.out
    assert (story["out"], story["speech"], story["run"].workers) == (Path("demo-out"), Path("voices"), 1)
    assert story["recipe"].novel == "codec2"


def test_demo_breaks_no_name_at_80_columns(run, story):
    ran = run("demo", "-q")
    lines = ran.out.splitlines()
    assert max(map(len, lines[: lines.index(next(line for line in lines if "It catches" in line))])) <= 80
    (header,) = (line for line in lines if line.split()[:1] == ["speech"])
    assert header.split()[1:] == ["codec2", "espeak", "griffin_lim", "lpc", "world"]
    rows = [line.split()[0] for line in lines if line.count(" 20 %") == 5]
    assert rows == ["codec2", "espeak", "griffin_lim", "lpc", "world", "null", "bonafide"]
    for line in lines:
        assert "griffin_li" not in line.replace("griffin_lim", "")


def test_demo_for_machines_is_one_object(run, story):
    ran = run("demo", "--json", "-q")
    assert (ran.json["verdict"]["caught"], ran.err) == ("yes", "")
    assert {"add_expert", "known_voices", "held_out_voice", "analysis", "seconds"} <= set(ran.json)
    assert story["recipe"].novel in story["recipe"].domains
    assert run("demo", "--speech", "empty", "--json").status == 1


def test_demo_without_a_page_says_what_to_install(run, story):
    ran = run("demo", "--speech", "undrawn", "-q")
    assert ran.status == 0
    assert "It catches griffin_lim now" in ran.out
    assert "No page" in ran.out
    assert "pip install 'molex-adapt[report]'" in ran.out
    found = run("demo", "--speech", "undrawn", "--json", "-q").json
    assert found["report"] is None and "molex-adapt[report]" in found["remarks"][0]
