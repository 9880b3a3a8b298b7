"""One recording over time: windows that add up, and the forged stretch of a recording found."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from molex_adapt.analysis import timeline as module
from molex_adapt.analysis.timeline import overlap, timeline, worst_stretch
from molex_adapt.errors import AudioError, ExpertError
from molex_adapt.findings import Moment, Stretch


def moments(*scores: float) -> list[Moment]:
    return [
        Moment(0.25 * at, 0.25 * at + 1.0, score, 0.0, 0.0, {"one": 1.0}) for at, score in enumerate(scores)
    ]


def test_windows_cover_the_recording_and_score_as_alone(detector_of, sound, tmp_path):
    detector = detector_of(readout=True)
    wave = sound(3, 2.6)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    found = timeline(detector, tmp_path / "a.wav")
    assert [item.begin for item in found.moments] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.6])
    assert found.moments[-1].end == pytest.approx(found.seconds) == pytest.approx(2.6)
    import torch

    whole = detector.base.prepare(wave)
    own = torch.from_numpy(np.ascontiguousarray(whole[4000:20000]))[None]
    assert found.moments[1].score == pytest.approx(
        float(detector.score(own, torch.tensor([16_000]))), abs=1e-4
    )
    for item in found.moments:
        assert 0 < sum(item.gates.values()) < 1  # the frozen base keeps a share
        assert item.gates.keys() == set(detector.mixture.names)
    assert max(abs(item.experts) for item in found.moments) > 1e-3
    assert found.as_dict()["moments"][0]["readout"] == 0.0


def test_a_recording_shorter_than_a_window_is_one(detector_of, sound, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(3, 0.4), 16_000)
    found = timeline(detector_of(), tmp_path / "a.wav")
    assert len(found.moments) == 1
    assert (found.stretch.begin, found.stretch.end, found.stretch.outside) == (0.0, pytest.approx(0.4), None)


def test_batches_do_not_matter(detector_of, sound, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", sound(4, 3.0), 16_000)
    detector = detector_of()
    whole = timeline(detector, tmp_path / "a.wav")
    monkeypatch.setattr(module, "batch_seconds", lambda device: 2.0)
    parts = timeline(detector, tmp_path / "a.wav")
    assert [item.score for item in parts.moments] == pytest.approx(
        [item.score for item in whole.moments], abs=1e-4
    )


def test_the_worst_stretch_is_the_largest_sum_below_the_mean():
    found = worst_stretch(moments(2, 2, 2, 2, -3, -4, -3, 2, 2, 1, 2, 2))
    assert (found.begin, found.end) == (1.5, 2.0)
    assert found.inside == pytest.approx(-10 / 3) and found.outside == pytest.approx(17 / 9)
    first = worst_stretch(moments(-3, -3, 2, 2, 2, 2))
    assert (first.begin, first.end) == (0.0, 0.75)
    last = worst_stretch(moments(2, 2, 2, 2, -3, -3))
    assert (last.begin, last.end) == (1.5, 2.25)
    lone = worst_stretch(moments(2, 2, -9, 2, 2))
    assert lone.begin < lone.end
    assert worst_stretch(moments(1.0)).begin == 0.0


def test_overlap_with_the_truth():
    assert overlap(Stretch(1.0, 2.0, 0, 0), (1.0, 2.0)) == 1.0
    assert overlap(Stretch(1.0, 2.0, 0, 0), (1.5, 2.5)) == pytest.approx(1 / 3)
    assert overlap(Stretch(1.0, 2.0, 0, 0), (2.5, 3.0)) == 0.0


def test_what_cannot_be_scored_is_refused(detector_of, sound, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError):
        timeline(detector_of(), tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", sound(3, 100 / 16_000), 16_000)
    with pytest.raises(AudioError, match="are fewer than"):
        timeline(detector_of(), tmp_path / "b.wav")
    with pytest.raises(ExpertError, match="no experts"):
        timeline(detector_of(()), tmp_path / "b.wav")


def test_silence_and_lost_channels_are_refused_as_in_scoring(detector_of, sound, tmp_path):
    wave = sound(3, 2.0)
    faults = {
        "digital silence": np.zeros(32_000),
        "channels in anti-phase": np.stack([wave, -wave], axis=1),
        "dead channel": np.stack([wave, np.zeros_like(wave)], axis=1),
    }
    for fault, samples in faults.items():
        soundfile.write(tmp_path / "a.wav", samples, 16_000)
        with pytest.raises(AudioError, match=rf"a\.wav: {fault}"):
            timeline(detector_of(), tmp_path / "a.wav")
