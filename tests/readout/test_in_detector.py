"""The readout in a detector: what it reads, and its share of the score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from molex_adapt import Run
from molex_adapt.base import load_base
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.features import OnlineFeatures, extract, logits_of, pad, parts_of, readings_of, score_table
from molex_adapt.head import Head
from molex_adapt.readout import Readings, Readout
from molex_adapt.train import readout_stage
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, weigh_readout
from molex_adapt.train.stages import append_expert


@pytest.fixture
def detector(tiny_folder_of, tiny_recipe) -> Detector:
    torch.manual_seed(0)
    return Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))


@pytest.fixture
def heard(recorded, tmp_path, detector):
    """A table of two classes, and its features."""
    table = read(recorded(tmp_path / "data", bona_fide=14, buzz=14))
    features, _ = extract(detector, table, Run(workers=1, cache="off"))
    return table, features


def domain(table, train, features) -> DomainData:
    return DomainData(table, train, features, features, (), ())


def test_the_score_is_the_mixture_and_the_readout(detector, heard):
    table, features = heard
    wave, lengths = pad([detector.base.prepare(np.sin(np.arange(9000) / 9).astype(np.float32))])
    alone = detector.logit(*detector.base.prefix(wave, lengths))
    torch.testing.assert_close(detector.score(wave, lengths), alone)  # nothing learnt yet
    run = Run(workers=1, cache="off")
    learn_readout(detector, {"buzz": domain(table, features, features)}, run)
    readout = detector.head.readout
    readout.share.fill_(2.0)
    states = detector.pooled_states(*detector.base.prefix(wave, lengths))
    readings = Readings(detector.statistics(wave, lengths), states)
    torch.testing.assert_close(detector.score(wave, lengths), alone + 2 * readout.evidence(readings))
    states, evidence = parts_of(detector, features)
    torch.testing.assert_close(logits_of(detector, features), states + 2 * evidence)
    scored, _ = score_table(detector, table, run)
    # Features are kept in half precision.
    found = torch.tensor([item.score for item in scored])
    torch.testing.assert_close(found, logits_of(detector, features), atol=0.1, rtol=0.05)
    assert not any(
        "readout" in name for name, _ in detector.named_parameters()
    )  # training moves nothing of it


def test_no_expert_changes_what_the_readout_reads(detector, heard, tiny_recipe):
    _, features = heard
    before = readings_of(detector, features)
    append_expert(detector, "one", tiny_recipe(head={"readout": True}), 0)
    for weight in detector.mixture.expert_parameters("one"):
        torch.nn.init.normal_(weight)
    assert torch.equal(readings_of(detector, features).states, before.states)


def test_what_is_computed_anew_for_every_batch_is_read_once(detector, heard):
    table, features = heard
    run = Run(workers=1, cache="off")
    learn_readout(detector, {"buzz": domain(table, features, features)}, run)
    expected = detector.head.readout.evidence(readings_of(detector, features))
    detector.head.readout = Readout(2 * detector.base.width * (len(detector.base.blocks) + 1))
    online = OnlineFeatures(detector, table.utterances, workers=1)
    learn_readout(detector, {"buzz": domain(table, online, features)}, run)
    found = detector.head.readout.evidence(readings_of(detector, features))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_of_a_very_large_split_a_part_is_read(detector, heard, monkeypatch):
    table, features = heard
    table = table.with_utterances(replace(item, split="train") for item in table)
    lessons = []
    monkeypatch.setattr(readout_stage, "MOST_READ", 10)
    monkeypatch.setattr(readout_stage, "learn", lambda _, given: lessons.append(given["buzz"][0]))
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (read,) = lessons
    own = [[at for at in range(len(table)) if features.attacks[at] == kind][::3] for kind in (None, "buzz")]
    places = sorted(own[0] + own[1])
    assert read.attacks == tuple(features.attacks[at] for at in places) and min(map(len, own)) > 3
    assert torch.equal(read.readings.spectrum, features.statistics[places])
    assert read.readings.states.isfinite().all()


def test_a_part_of_a_very_large_split_has_every_class(detector, heard, monkeypatch):
    """Recordings and their copies in turn, as manifests list them."""
    table, features = heard
    real, forged = ([item for item in table if item.label == label] for label in ("bonafide", "spoof"))
    turns = [item for pair in zip(real, forged, strict=False) for item in pair]
    table = table.with_utterances(replace(item, split="train") for item in turns)
    lessons = []
    monkeypatch.setattr(readout_stage, "MOST_READ", len(turns) // 2)
    monkeypatch.setattr(readout_stage, "learn", lambda _, given: lessons.append(given["buzz"][0]))
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    assert lessons[0].has_both_classes


def test_its_share_is_what_development_sets_say(detector, heard, tiny_recipe):
    table, features = heard
    assert weigh_readout(detector, [features]) == []  # it has learnt nothing
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (remark,) = weigh_readout(detector, [features])
    assert "has 1 witness(es); experts come on top of what it says" in remark
    readout, real = detector.head.readout, features.bona_fide
    alone = logits_of(detector, features)
    assert alone.std() > 0 and alone[real].mean() > alone[~real].mean()
    torch.testing.assert_close(alone, readout.share * readout.evidence(readings_of(detector, features)))
    append_expert(detector, "one", tiny_recipe(head={"readout": True}), 0)
    for weight in (*detector.mixture.expert_parameters("one"), *detector.head.parameters()):
        torch.nn.init.normal_(weight)
    share = float(readout.share)
    weigh_readout(detector, [features])
    assert float(readout.share) == pytest.approx(share)  # whatever experts say


def test_beside_a_whole_head_its_share_is_weighed(heard, tiny_folder_of, tiny_recipe):
    table, features = heard
    base, recipe = load_base(tiny_folder_of()), tiny_recipe(head={"readout": True})
    head = Head(base.width, len(base.blocks) + 1, recipe.head, relative=False)
    detector = Detector(base, recipe, head=head)
    learn_readout(detector, {"buzz": domain(table, features, features)}, Run(workers=1, cache="off"))
    (remark,) = weigh_readout(detector, [features])
    kept = float(detector.head.readout.share)
    assert kept > 0
    assert "has 1 witness(es); its part in the score is" in remark
    weigh_readout(detector, [replace(features, statistics=None)])
    assert float(detector.head.readout.share) == kept  # nothing to measure on
