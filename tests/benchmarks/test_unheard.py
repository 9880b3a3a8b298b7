"""Two bases on voices that nothing heard: what is learnt, left out, added and measured, and what the page says."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import unheard
from benchmarks.plan import Cell, read_plan
from benchmarks.recordings import under
from benchmarks.report.found import Found
from benchmarks.report.unheard import unheard as section
from benchmarks.results import Results
from benchmarks.scored import RESAMPLES, Scored, compared, refused
from benchmarks.unheard import Settings
from molex_adapt.data import Utterance, decode
from molex_adapt.errors import DataError

ATTACKS = ("buzz", "hum", "ring", "whistle")
SIZES = {"train": 10, "dev": 6, "test": 8}


@pytest.fixture(scope="module")
def domains(domains_of, tmp_path_factory):
    return domains_of(tmp_path_factory.mktemp("unheard"), ATTACKS, SIZES)


@pytest.fixture(scope="module")
def plan(tiny_folder_of):
    settings = {
        "bases": {"one": str(tiny_folder_of()), "other": str(tiny_folder_of("hubert"))},
        "learnt": {name: name for name in ("buzz", "hum", "ring")},
        "unmet": {"whistle": "whistle"},
        "added": ["whistle"],
        "train": 7,
        "conditions": ["gsm", "level:dbfs=-40"],
        "real": 4,
    }
    return read_plan("unheard").model_copy(update={"settings": settings, "runs": {"one": [0], "other": [0]}})


@pytest.fixture(scope="module", autouse=True)
def read_once(tmp_path_factory):
    """Each base reads a recording once, and all tests share what it found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLEX_CACHE", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="module")
def figures(plan, domains, tmp_path_factory):
    found = unheard.measure(plan, plan.cells, domains, tmp_path_factory.mktemp("work"))
    return {cell.method: figures for cell, figures in found}


def test_each_base_learns_all_but_what_it_leaves_out_and_is_measured_by_condition(figures):
    for found in figures.values():
        assert found["heard"] == {"train": 10, "dev": 6, "test": 16}
        assert set(found["learnt"]["none"]["attacks"]) == set(found["left_out"]["none"]["attacks"])
        assert set(found["unmet"]["drawn"]["attacks"]) == {"whistle"}
        for group in ("learnt", "left_out", "unmet"):
            # The two conditions are of the same files here.
            assert found[group]["none"]["mean"] == found[group]["drawn"]["mean"]
            assert all(rate["recordings"] == 8 for rate in found[group]["none"]["attacks"].values())
        assert found["left_out"]["none"]["attacks"]["hum"]["accepted"] is None
        assert set(found["conditions"]) == {"gsm", "level:dbfs=-40"}
        assert all(one["recordings"] == 4 for one in found["conditions"].values())
        assert found["control"] == 0.5  # the same files
        assert found["added"]["whistle"]["own"]["none"]["attacks"].keys() == {"whistle"}
        assert set(found["added"]["whistle"]["known"]["none"]["attacks"]) == {"buzz", "hum", "ring"}


def test_what_is_left_out_is_heard_by_nothing(plan, domains, tmp_path, monkeypatch):
    heard = []

    def learnt(readout, lessons):
        heard.append({name: [lesson.attacks for lesson in pair] for name, pair in lessons.items()})
        return learn(readout, lessons)

    learn, made, folders = unheard.learn, unheard.detector_on, []
    monkeypatch.setattr(unheard, "learn", learnt)
    monkeypatch.setattr(unheard, "detector_on", lambda base, *rest: folders.append(base) or made(base, *rest))
    next(unheard.measure(plan, plan.cells[1:], domains, tmp_path))
    assert folders == [Path(plan.settings["bases"]["other"])]
    names = [set(lessons) for lessons in heard]
    assert names == [{"buzz", "hum", "ring"}, {"hum", "ring"}, {"buzz", "ring"}, {"buzz", "hum"}, {"whistle"}]
    for lessons in heard:
        for name, (train, dev) in lessons.items():
            assert set(train) == set(dev) == {None, name}
            assert train.count(None) == 10 and dev.count(None) == 6
            assert train.count(name) == (7 if name == "whistle" else 10)


def test_the_threshold_is_set_on_development_voices(plan, domains, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        unheard,
        "threshold_for_new_voices",
        lambda scores, voices, share: asked.append((len(scores), set(voices), share)) or np.inf,
    )
    [(_, found)] = unheard.measure(plan, plan.cells[:1], domains, tmp_path)
    assert asked == [(6, {"dev0", "dev1", "dev2"}, 0.03)]
    assert found["real"]["none"]["refused"] == 1.0
    assert found["learnt"]["none"]["attacks"]["hum"]["accepted"] == 0.0


def test_too_few_copies_and_missing_manifests_are_refused(plan, domains, tmp_path):
    for change, words in (
        ({"train": 11}, "10 recordings to learn from, 11 are wanted"),
        ({"unmet": {"whistle": "away/whistle"}}, "whistle.csv is missing"),
    ):
        other = plan.model_copy(update={"settings": plan.settings | change})
        with pytest.raises(DataError, match=words):
            next(unheard.measure(other, plan.cells[:1], domains, tmp_path))


def scored(scores, condition="none", voice="v"):
    rows = tuple(
        Utterance(f"{at}.wav", "bonafide", source=f"s{at}", speaker=f"{voice}{at % 2}", condition=condition)
        for at in range(len(scores))
    )
    return Scored(rows, np.array(scores, dtype=float))


def test_rates_are_those_of_their_condition():
    real = [scored([1.0, 2.0, 3.0, 4.0] * 10), scored([-1.0, 2.0, 3.0, 4.0] * 10, "drawn")]
    both = Scored(real[0].rows + real[1].rows, np.concatenate([each.scores for each in real]))
    forged = [scored([-3.0, -2.0, -1.0, 0.0] * 10), scored([-3.0, 2.5, -1.0, 0.0] * 10, "drawn")]
    spoof = Scored(forged[0].rows + forged[1].rows, np.concatenate([each.scores for each in forged]))
    found = compared({"hum": (both, spoof)}, 0.5)
    assert found["none"]["attacks"]["hum"]["eer"] == 0.0
    assert found["none"]["attacks"]["hum"]["accepted"] == 0.0
    assert found["drawn"]["attacks"]["hum"]["eer"] == pytest.approx(0.25)
    assert found["drawn"]["attacks"]["hum"]["accepted"] == pytest.approx(0.25)
    assert len(found["drawn"]["resampled"]) == RESAMPLES and max(found["none"]["resampled"]) == 0
    assert refused(real[1], 0.0) == {
        "refused": 0.25,
        "recordings": 40,
        "voices": {"v0": [20, 0.5], "v1": [20, 0.0]},
    }


def test_a_recording_goes_through_its_condition_once_and_alike(tmp_path, sound):
    soundfile.write(tmp_path / "a.wav", sound(1, 1.0, 0.0), 16_000)
    row = Utterance(tmp_path / "a.wav", "bonafide", source="a", condition="none")
    one, again = (under(row, "noise", tmp_path / "made", seed=0) for _ in range(2))
    assert one == again and one.condition == "noise" and one.source == "a"
    assert len(list((tmp_path / "made").iterdir())) == 1
    other = under(row, "noise", tmp_path / "made", seed=1)
    assert other.path != one.path
    assert not np.array_equal(decode(one.path), decode(row.path))
    assert not np.array_equal(decode(one.path), decode(other.path))


def test_the_plan_names_each_attack_once_and_adds_only_what_it_does_not_know():
    settings = read_plan("unheard").settings_as(Settings)
    assert not set(settings.learnt) & set(settings.unmet) and set(settings.added) <= set(settings.unmet)
    assert set(settings.bases) == set(read_plan("unheard").runs)


def rows_of(page):
    return [line.strip("| ").split(" | ") for line in page if line.startswith("| ")]


def test_the_page_sets_bases_side_by_side(plan, figures):
    results = Results.of(plan)
    shown = deepcopy(figures)
    shown["other"]["learnt"]["none"]["mean"] = shown["one"]["learnt"]["none"]["mean"] + 0.02
    shown["other"]["learnt"]["none"]["resampled"] = [
        value + 200 for value in shown["one"]["learnt"]["none"]["resampled"]
    ]
    shown["one"]["real"]["none"]["voices"] = {"a": [39, 0.9], "b": [40, 0.125], "c": [50, 0.02]}
    shown["other"]["real"]["none"]["voices"] = {"a": [40, 0.0]}
    machine = {"bfloat16": False, "card": "", "processor": "x", "cores": 1, "torch": "2"}
    for name, own in shown.items():
        results.add(plan, Cell(name, (0,)), own, {"benchmarks/unheard": ""}, machine)
    rows = rows_of(section(Found("unheard", plan, results)))
    by_title = {row[0]: row[1:] for row in reversed(rows)}
    title = "attacks that were learnt, as they are: mean EER"
    assert by_title[title][0] == "≤ 3.0" and by_title[title][-1] == "+2.0 [+2.0, +2.0]"
    assert by_title["of the worst voice with 40 recordings"][1:3] == ["12.5 (b)", "0.0 (a)"]
    assert by_title["controls: real speech against the same in a condition, EER"][0] == "45 to 55"
    assert by_title["whistle"][0] == "no" and by_title["whistle"][3] == "–"
    assert by_title["buzz"][0] == "yes" and len(by_title["buzz"]) == 1 + 4 * 2
    assert {"gsm", "level:dbfs=-40"} <= set(by_title)
    assert "### Bases\n" in section(Found("unheard", plan, results))
