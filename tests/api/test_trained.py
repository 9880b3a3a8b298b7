"""Whoever evaluates on what the mixture learnt from is told, with figures of what it did not hear."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from molex_adapt import Run
from molex_adapt.api import trained
from molex_adapt.data import audio

HOW = Run(workers=1, device="cpu")


@pytest.fixture(params=["by recording", "by data set"])
def way(request, monkeypatch) -> str:
    """Experts say which recordings they heard, or are of the time when they said which data set."""
    if request.param == "by data set":
        monkeypatch.setattr(trained, "arrays_to_heard", lambda arrays, split: frozenset())
    return request.param


def test_the_data_set_of_the_training_is_recognised(made, registry, way):
    report = registry.evaluate(made.buzz, run=HOW)
    counts = registry.store.expert("buzz").data.counts
    (trained, tested) = (sum(counts[split].values()) for split in ("train", "test"))
    found = report.heard_in_training
    assert (found.recordings, found.by_expert) == (trained, {"buzz": trained})
    assert found.without.bona_fide + found.without.spoof == tested
    assert found.without.eer == registry.evaluate(made.buzz, split="test", run=HOW).overall.eer
    assert report.remarks[0].startswith(f"{trained} of 24 were heard in training (expert buzz {trained})")
    assert report.as_dict()["heard_in_training"]["by_expert"] == {"buzz": trained}


def test_so_it_is_when_it_was_moved(made, registry, tmp_path, way):
    shutil.copytree(made.buzz, tmp_path / "elsewhere")
    assert registry.evaluate(tmp_path / "elsewhere", run=HOW).heard_in_training is not None


@pytest.mark.parametrize("part", ["test", "other"])
def test_what_was_not_heard_is_not_accused(made, registry, part):
    split = {"test": made.buzz, "other": made.hum}[part]
    report = registry.evaluate(split, split="test" if part == "test" else None, run=HOW)
    assert report.heard_in_training is None and "training" not in " ".join(report.remarks)


def test_a_recording_is_found_again_under_any_name_and_in_any_container(made, registry, tmp_path):
    whole = registry.evaluate(made.buzz, run=HOW).heard_in_training
    for at, path in enumerate(sorted(made.buzz.rglob("*.wav"))):
        folder = tmp_path / "other" / path.parent.relative_to(made.buzz)
        folder.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(folder / f"{at}.flac", samples, rate)
    shutil.copy(next(made.hum.rglob("bonafide000.wav")), tmp_path / "other/bonafide/new.wav")
    found = registry.evaluate(tmp_path / "other", run=HOW)
    assert found.heard_in_training.recordings == whole.recordings
    assert found.heard_in_training.by_expert == whole.by_expert
    assert found.heard_in_training.without.bona_fide == whole.without.bona_fide + 1
    assert found.remarks[0].startswith(f"{whole.recordings} of 25 were heard in training (expert buzz")


def test_several_experts_are_named_with_what_each_heard(made, registry, tiny_recipe, tmp_path):
    keeps_no_speech = tiny_recipe(exemplars={"replay": 0, "check": 0})
    registry.add_expert(made.hum, domain="hum", recipe=keeps_no_speech, accept=True, run=HOW)
    assert set(registry.store.exemplar_tensors("hum")) == {"heard.train", "heard.dev"}
    assert registry.store.verify() == []
    mixed = Path(shutil.copytree(made.buzz, tmp_path / "mixed"))
    shutil.copytree(made.hum / "spoof", mixed / "spoof", dirs_exist_ok=True)
    heard = registry.evaluate(mixed, run=HOW).heard_in_training
    learnt = {name: registry.store.expert(name).data.counts["train"] for name in ("buzz", "hum")}
    assert heard.by_expert == {"buzz": sum(learnt["buzz"].values()), "hum": learnt["hum"]["spoof"]}
    assert heard.recordings == sum(heard.by_expert.values())


def test_experts_of_attacks_are_counted_apart(made, empty, tiny_recipe):
    empty.train(made.both, experts="per-attack", recipe=tiny_recipe(), run=HOW)
    found = empty.evaluate(made.both, run=HOW).heard_in_training
    train = {name: empty.store.expert(name).data.counts["train"] for name in found.by_expert}
    assert len(train) == 2
    assert found.by_expert == {name: sum(counts.values()) for name, counts in train.items()}
    assert (
        found.recordings == sum(c["spoof"] for c in train.values()) + next(iter(train.values()))["bonafide"]
    )


def test_what_was_purged_on_the_way_stops_nothing(made, registry, tiny_recipe, way):
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    registry.store.remove("buzz", purge=True)
    assert [record.number for record in registry.store.history()] == [3]
    assert registry.score(made.buzz, run=HOW).unheard is None
    assert registry.evaluate(made.buzz, run=HOW).heard_in_training is None


def test_a_recording_is_decoded_once_for_its_score_and_for_what_was_heard(made, registry, monkeypatch):
    opened = []
    pieces = audio._pieces
    monkeypatch.setattr(audio, "_pieces", lambda path, *given: opened.append(path) or pieces(path, *given))
    whole = sorted(made.buzz.rglob("*.wav"))
    assert registry.evaluate(made.buzz, run=HOW).heard_in_training.recordings
    assert sorted(opened) == whole
    opened.clear()
    assert len(registry.score(made.buzz, run=HOW).scores) == len(whole)
    assert sorted(opened) == whole
