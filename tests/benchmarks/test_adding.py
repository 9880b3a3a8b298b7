"""How long adding an expert takes: what is measured, and how pages show it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from benchmarks import adding
from benchmarks.plan import read_plan
from benchmarks.report.costs import adding as section
from benchmarks.report.found import Found
from benchmarks.report.readme import with_table
from benchmarks.results import Results
from molex_adapt import Registry, Run
from molex_adapt.data import Table, Utterance, read


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """Eighteen recordings, every third of which is too short."""
    rng, items = np.random.default_rng(0), []
    for at in range(18):
        wave = 0.1 * rng.standard_normal(16_000 if at % 3 else 4_000)
        soundfile.write(tmp_path / f"{at}.wav", wave, 16_000)
        items.append(Utterance(tmp_path / f"{at}.wav", "bonafide", speaker=f"v{at % 6}"))
    table = Table(tuple(items), "speech")
    monkeypatch.setattr(adding, "find_speech", lambda folder: table)


def test_copies_are_of_the_same_length_and_short_recordings_left_out(speech, tmp_path):
    (tmp_path / "made").mkdir()
    table = read(adding.recordings("world", 12, 0.5, tmp_path / "made"))
    assert [item.label for item in table].count("spoof") == len(table) // 2 == 12
    assert {item.attack for item in table} == {None, "world"}
    assert {soundfile.info(item.path).frames for item in table if item.label == "bonafide"} == {8_000}
    by_source = [
        {item.speaker for item in table if item.source == source}
        for source in {item.source for item in table}
    ]
    assert all(len(voices) == 1 for voices in by_source)
    with pytest.raises(ValueError, match="12 recordings of 0.5 s were found, 13 are needed"):
        adding.recordings("world", 13, 0.5, tmp_path / "made")


def test_the_command_is_timed_from_its_start_to_its_exit(
    recorded, tmp_path, tiny_folder_of, tiny_recipe, monkeypatch
):
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    old = recorded(tmp_path / "old", bona_fide=12, buzz=12)
    registry.train(old, domain="buzz", recipe=tiny_recipe(), run=Run(device="cpu", workers=1))
    monkeypatch.setattr(adding, "SHIPPED", tmp_path / "registry")
    before = {path: path.read_bytes() for path in (tmp_path / "registry").rglob("*") if path.is_file()}
    found = adding.added("hum", recorded(tmp_path / "new", bona_fide=12, hum=12), tmp_path)
    assert found["seconds"] > sum(found["parts"].values()) > 0
    assert found["steps"]["expert"] > 0 and len(found["eer"]) == 2
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "registry").rglob("*") if path.is_file()
    }
    silent = SimpleNamespace(stdout="", stderr="no such thing")
    monkeypatch.setattr(adding.subprocess, "run", lambda *given, **how: silent)
    with pytest.raises(RuntimeError, match="add-expert --domain hum .* failed: no such thing"):
        adding.added("hum", tmp_path / "nothing.csv", tmp_path)


def test_pages_show_it():
    plan = read_plan("adding")
    results = Results.of(plan)
    parts = {"expert": 12.4, "router": 6.1, "evaluate": 5.0, "readout": 0.2}
    figures = {
        "seconds": 55.2,
        "rounds": [54.0, 55.2, 58.9],
        "parts": parts,
        "steps": {"expert": 40, "router": 20},
    }
    results.add(plan, plan.cells[0], figures | {"eer": [0.2, 0.05], "withdrawn": True, "activated": True})
    found = Found("adding", plan, results)
    (row,) = [line for line in section(found) if line.startswith("| phase_vocoder")]
    assert "| 54 to 59 | expert 12, router 6, evaluate 5, readout 0 | expert 40, router 20 |" in row
    assert "| 20.0 → 5.0 | withdrawn |" in row
    readme = with_table("<!-- measured -->\n<!-- /measured -->\n", {"adding": found})
    assert "everything included | 55 s | `python -m benchmarks adding` |" in readme
    alone = {"seconds": 20.4, "rounds": [20.0, 20.4, 21.0], "parts": {"readout": 0.2}, "steps": {}}
    results.add(plan, plan.cells[1], alone | {"eer": [0.2, 0.1], "withdrawn": True, "activated": True})
    both = replace(found)  # what a page remembers of its rows is of before
    (row,) = [line for line in section(both) if "`--readout-only`" in line]
    assert "| 20 to 21 | readout 0 | none | 20.0 → 10.0 | not trained |" in row
    readme = with_table("<!-- measured -->\n<!-- /measured -->\n", {"adding": both})
    assert "everything included; the same with `--readout-only` | 55; 20 s |" in readme


def test_what_stands_behind_a_plus_is_an_option_of_the_command(speech, monkeypatch):
    plan, asked = read_plan("adding"), []
    monkeypatch.setattr(adding, "recordings", lambda *given: given)
    monkeypatch.setattr(
        adding,
        "added",
        lambda attack, made, folder, options: asked.append((attack, options)) or {"seconds": 1},
    )
    assert len(list(adding.measure(plan, plan.cells))) == 2
    assert asked == [("phase_vocoder", [])] * 3 + [("phase_vocoder", ["--readout-only"])] * 3
