from __future__ import annotations

import numpy as np
import pytest
import soundfile

from molex_adapt.data import Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.pretrain.corpus import LEVEL_RMS, build_streams, hear
from molex_adapt.progress import Silent


@pytest.fixture
def table(sound, tmp_path) -> Table:
    items = []
    for number, speaker in enumerate(("ann", "bob", "ann")):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, sound(number, 1.01) * (1 + number), 16_000)
        items.append(Utterance(path, "bonafide", source=str(number), speaker=speaker))
    for name, content in (("silent", np.zeros(8_000)), ("none", None)):
        path = tmp_path / f"{name}.wav"
        if content is None:
            path.write_text("no audio")
        else:
            soundfile.write(path, content, 16_000)
        items.append(Utterance(path, "bonafide", source=name, speaker="carl"))
    return Table(tuple(items), str(tmp_path))


def test_one_stream_per_speaker_and_condition_at_one_level(table):
    heard: list[str] = []

    class Ear(Silent):
        def note(self, text):
            heard.append(text)

    streams = build_streams(table, ("wide", "narrow", "degraded"), 0, Ear())
    assert [(item.speaker, item.condition) for item in streams] == [
        (speaker, condition) for speaker in ("ann", "bob") for condition in ("wide", "narrow", "degraded")
    ]
    assert [item.frames for item in streams] == [100] * 3 + [50] * 3
    assert all(len(item.wave) == item.frames * 320 for item in streams)
    wide = streams[0].wave
    for half in (wide[:16_000], wide[16_000:]):
        assert np.sqrt(np.mean(half**2)) == pytest.approx(LEVEL_RMS, rel=1e-3)
    assert len(heard) == 1
    assert "none.wav" in heard[0]
    again = build_streams(table, ("degraded",), 0)
    assert np.array_equal(again[0].wave, streams[2].wave)
    assert not np.array_equal(build_streams(table, ("degraded",), 1)[0].wave, again[0].wave)


def test_narrow_is_the_telephone_band():
    time = np.arange(16_000) / 16_000
    tones = {hertz: np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (1_000, 6_000)}
    rng = np.random.default_rng(0)
    levels = {hertz: float(np.sqrt(np.mean(hear(wave, "narrow", rng) ** 2))) for hertz, wave in tones.items()}
    assert levels[1_000] == pytest.approx(0.707, rel=0.02)
    assert levels[6_000] < 0.05
    assert hear(tones[1_000], "wide", rng) is tones[1_000]


@pytest.mark.parametrize("samples", [320, 64_320, 130_000])
def test_degraded_speech_keeps_its_length_and_is_finite(sound, samples):
    wave = np.resize(sound(0, 2.0), samples)
    for seed in range(6):
        found = hear(wave, "degraded", np.random.default_rng(seed))
        assert (found.shape, found.dtype) == (wave.shape, np.float32)
        assert np.isfinite(found).all()
        assert not np.array_equal(found, wave)


def test_nothing_usable_and_unknown_conditions(table):
    with pytest.raises(DataError, match="no usable speech"):
        build_streams(Table(table.utterances[3:], "here"), ("wide",), 0)
    with pytest.raises(DataError, match="'loud'; known: wide, narrow, degraded"):
        hear(np.zeros(320, np.float32), "loud", np.random.default_rng(0))
