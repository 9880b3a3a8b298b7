"""One pass over recordings or features: scores, gates, experts that are switched off; samples and shards."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from molex_adapt.analysis import (
    Corpus,
    analyse_recalled,
    analyse_table,
    corpus,
    observe_features,
    observe_table,
)
from molex_adapt.analysis.observe import HEIRS
from molex_adapt.data import read
from molex_adapt.errors import ExpertError
from molex_adapt.features import concatenate, extract, logits_of
from molex_adapt.routing import collect
from molex_adapt.run import Run

HOW = Run(device="cpu", workers=1, cache="off")


@pytest.mark.parametrize("routing", ["utterance", "frame"])
def test_scores_and_gates_are_those_of_scoring(detector_of, kept, routing):
    detector = detector_of(routing=routing)
    found = observe_features(detector, kept)
    expected = detector.calibration.apply(logits_of(detector, kept).double().numpy())
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    gates = collect(detector, kept)
    np.testing.assert_allclose(found.gates, gates.gates[found.profiled], atol=1e-5)
    np.testing.assert_allclose(found.before, gates.probabilities[found.profiled], atol=1e-5)
    with detector.mixture.silenced():
        silent = detector.calibration.apply(logits_of(detector, kept).double().numpy())
    np.testing.assert_allclose(found.bare, silent, atol=1e-5)
    assert np.abs(found.bare - found.scores).max() > 1e-3
    assert found.seen.all() and len(found.ablated) == 0


def test_an_expert_that_is_off_scores_as_if_it_were_withdrawn(detector_of, kept):
    found = observe_features(detector_of(), kept, ablate=True)
    assert found.without.shape == (12, 3, 2)
    for at, name in enumerate(detector_of().mixture.names):
        withdrawn = detector_of()
        withdrawn.mixture.withdraw(name)
        expected = withdrawn.calibration.apply(logits_of(withdrawn, kept).double().numpy())
        np.testing.assert_allclose(found.without[:, at, 0], expected[found.ablated], atol=1e-4)
    nobody = found.without[:, :, 1]
    assert np.abs(nobody - found.without[:, :, 0]).max() > 1e-3
    assert np.abs(nobody - found.scores[found.ablated, None]).max() > 1e-3


def test_switching_experts_off_passes_the_frozen_base_no_further_time(detector_of, kept, monkeypatch):
    detector = detector_of()
    detector.head.relative = True
    passes = []
    inner = detector.base.hidden_states
    monkeypatch.setattr(detector.base, "hidden_states", lambda *given: (passes.append(1), inner(*given))[1])
    observe_features(detector, kept, ablate=False)
    once = len(passes)
    observe_features(detector, kept, ablate=True)
    switched = len(passes) - 2 * once
    batches = once // 2  # with the experts, and frozen
    assert switched == batches * len(detector.mixture.names) * len(HEIRS)


def test_the_only_expert_off_is_no_expert(detector_of, kept):
    found = observe_features(detector_of(("world",)), kept, ablate=True)
    for heirs in (0, 1):
        np.testing.assert_allclose(found.without[:, 0, heirs], found.bare[found.ablated], atol=1e-5)


def test_a_mixture_without_experts_is_refused(detector_of, kept):
    with pytest.raises(ExpertError, match="no experts to look at"):
        observe_features(detector_of(()), kept)


def test_recordings_are_observed_as_their_features_and_shards_merge(detector_of, recorded, tmp_path):
    detector = detector_of()
    table = read(recorded(tmp_path / "data", bona_fide=5, buzz=4, hum=3))
    (tmp_path / "data/spoof/hum/hum001.wav").write_bytes(b"no audio")
    whole, failed = observe_table(detector, table, HOW, ablate=True)
    assert [item.path.endswith("hum001.wav") for item in failed] == [True]
    assert whole.seen.sum() == len(table) - 1 and np.isnan(whole.scores[~whole.seen]).all()
    features, _ = extract(detector, table, HOW)
    np.testing.assert_allclose(
        whole.scores[whole.seen], observe_features(detector, features).scores, atol=2e-2
    )
    parts = [observe_table(detector, table, HOW, ablate=True, part=(at, 2))[0] for at in range(2)]
    merged = parts[1].merge(parts[0])
    for part in fields(merged):
        one, other = getattr(merged, part.name), getattr(whole, part.name)
        if part.name == "tally":
            torch.testing.assert_close(one.grouped([[0, 1, 2]]).gates, other.grouped([[0, 1, 2]]).gates)
            assert torch.equal(one.counts, other.counts)
        else:
            np.testing.assert_allclose(one, other, atol=1e-4, err_msg=part.name)


def test_what_is_no_speech_is_not_observed_and_what_goes_on_is_counted(detector_of, recorded, tmp_path):
    """An evaluation leaves silence out, and hears all windows."""
    table = read(recorded(tmp_path / "data", bona_fide=3, buzz=3))
    folder = tmp_path / "data/spoof/buzz"
    wave, rate = soundfile.read(folder / "buzz000.wav")
    soundfile.write(folder / "buzz001.wav", np.zeros(rate), rate)
    soundfile.write(folder / "buzz002.wav", np.tile(wave, 1 + 12 * rate // wave.size), rate)
    observed, failed = observe_table(detector_of(), table, HOW)
    assert [Path(item.path).name for item in failed] == ["buzz001.wav"]
    assert "digital silence" in failed[0].reason
    assert observed.longer == 1
    found = analyse_table(detector_of(), table, HOW)
    assert "1 recording is longer than 10 s" in found.remarks[-1]


def test_the_readout_is_told_apart_from_the_experts(detector_of, kept):
    """What it adds stands in the score and in the score without experts."""
    detector = detector_of(readout=True)
    readout = detector.head.readout
    width = readout.weights.shape[1]
    readout.weights, readout.scales = torch.randn(1, width), torch.tensor([[1.0, 0.5]])
    readout.names = torch.tensor(list(b"world/buzz"), dtype=torch.uint8)
    readout.owners = ("world",)
    readout.share.fill_(0.5)
    speaking = observe_features(detector, kept, ablate=True)
    assert np.abs(speaking.told).max() > 1e-3
    assert not np.isnan(speaking.told).any()
    readout.share.fill_(0.0)
    mute = observe_features(detector, kept, ablate=True)
    # What experts say joins the one witness, and its share is theirs too; without a share they speak alone.
    np.testing.assert_allclose(speaking.scores - speaking.told, 0.5 * mute.scores, atol=1e-4)
    np.testing.assert_allclose(speaking.bare, speaking.told, atol=1e-4)
    np.testing.assert_allclose(
        speaking.without - speaking.told[speaking.ablated, None, None], 0.5 * mute.without, atol=1e-4
    )
    assert not mute.told.any()


def many(count: int) -> Corpus:
    names = tuple(("bonafide", "buzz", "hum")[at % 3] for at in range(count))
    real = np.array([name == "bonafide" for name in names])
    sources = tuple(str(at // 3) for at in range(count))
    return Corpus(names, ("",) * count, real, sources, tuple(map(str, range(count))))


def test_samples_are_bounded_and_share_sources(monkeypatch):
    monkeypatch.setattr(corpus, "PROFILED", 60)
    small, large = many(30), many(3000)
    assert len(small.profiled) == 30
    assert len(large.profiled) == 60
    chosen = large.of(large.profiled)
    by_name = {
        name: {s for s, n in zip(chosen.sources, chosen.attacks, strict=True) if n == name}
        for name in large.names
    }
    assert {name: len(own) for name, own in by_name.items()} == {"buzz": 10, "hum": 10, "bonafide": 40}
    assert by_name["buzz"] == by_name["hum"] <= by_name["bonafide"]
    assert set(large.ablated) <= set(range(3000))


def test_the_sample_is_the_same_in_every_order():
    whole = many(900)
    order = np.random.default_rng(0).permutation(900)
    shuffled = whole.of(order)
    assert {whole.keys[i] for i in whole.profiled} == {shuffled.keys[i] for i in shuffled.profiled}


def test_rows_are_attacks_in_conditions_with_bona_fide_speech_last():
    names = ("buzz", "bonafide", "buzz", "bonafide")
    real = np.array([False, True, False, True])
    found = Corpus(names, ("opus", "none", "none", "opus"), real, ("a",) * 4, tuple("1234"))
    assert found.rows == (
        ("buzz", "none", "spoof"),
        ("buzz", "opus", "spoof"),
        ("bonafide", "none", "bonafide"),
        ("bonafide", "opus", "bonafide"),
    )
    assert found.row_of.tolist() == [1, 2, 0, 3]
    assert found.names == ["buzz", "bonafide"]
    assert replace(found, attacks=("x", "bonafide", "buzz", "bonafide")).names == ["buzz", "x", "bonafide"]


def test_a_recording_that_several_domains_keep_counts_once(detector_of, kept):
    detector = detector_of()
    alone = analyse_recalled(detector, kept, {})
    noisy = replace(kept, clips=tuple((1.001 * clip.float()).half() for clip in kept.clips))
    twice = analyse_recalled(detector, concatenate([kept, noisy]), {})
    assert twice.utterances == alone.utterances == {"buzz": 3, "hum": 3, "bonafide": 6}
    assert (twice.usage, twice.drawn) == (alone.usage, {})
    other = replace(kept, clips=tuple(clip.flip(0) for clip in kept.clips))  # another take of each
    both = analyse_recalled(detector, concatenate([kept, other]), {})
    assert sum(both.utterances.values()) == 24
