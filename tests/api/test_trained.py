"""Whoever evaluates on what the mixture learnt from is told, with figures of what it did not hear."""

from __future__ import annotations

import shutil

import pytest

from molex_adapt import Run
from molex_adapt.data import read

HOW = Run(workers=1, device="cpu")


def test_the_data_set_of_the_training_is_recognised(made, registry):
    report = registry.evaluate(made.buzz, run=HOW)
    counts = registry.store.expert("buzz").data.counts
    (trained, tested) = (sum(counts[split].values()) for split in ("train", "test"))
    found = report.heard_in_training
    assert (found.recordings, found.by_expert) == (trained, {"buzz": trained})
    assert found.without.bona_fide + found.without.spoof == tested
    assert found.without.eer == registry.evaluate(made.buzz, split="test", run=HOW).overall.eer
    assert report.remarks[0].startswith(f"{trained} of 24 were heard in training (expert buzz {trained})")
    assert report.as_dict()["heard_in_training"]["by_expert"] == {"buzz": trained}


def test_so_it_is_when_it_was_moved(made, registry, tmp_path):
    shutil.copytree(made.buzz, tmp_path / "elsewhere")
    assert registry.evaluate(tmp_path / "elsewhere", run=HOW).heard_in_training is not None


@pytest.mark.parametrize("part", ["test", "other", "changed"])
def test_what_was_not_heard_is_not_accused(made, registry, part, tmp_path):
    if part == "test":
        report = registry.evaluate(made.buzz, split="test", run=HOW)
    elif part == "other":
        report = registry.evaluate(made.hum, run=HOW)
    else:
        shutil.copytree(made.buzz, tmp_path / "changed")
        shutil.copy(made.hum / "bonafide/bonafide000.wav", tmp_path / "changed/bonafide/new.wav")
        report = registry.evaluate(read(tmp_path / "changed"), run=HOW)
    assert report.heard_in_training is None and "training" not in " ".join(report.remarks)


def test_experts_of_attacks_are_counted_apart(made, empty, tiny_recipe):
    empty.train(made.both, experts="per-attack", recipe=tiny_recipe(), run=HOW)
    found = empty.evaluate(made.both, run=HOW).heard_in_training
    train = {name: empty.store.expert(name).data.counts["train"] for name in found.by_expert}
    assert len(train) == 2
    assert found.by_expert == {name: sum(counts.values()) for name, counts in train.items()}
    assert (
        found.recordings == sum(c["spoof"] for c in train.values()) + next(iter(train.values()))["bonafide"]
    )
