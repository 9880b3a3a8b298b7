from __future__ import annotations

import numpy as np
import pytest
import soxr
from scipy.signal import firwin, lfilter

from molex_adapt.data import Channels, Heard, hear, listen, remarks_on
from molex_adapt.data.remarks import Remark, summary
from molex_adapt.errors import AudioError

RATE = 16_000


def speech(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    """Syllables of 0.3 s at -26 dB: pulses through formants, then a fricative that reaches 8 kHz, then a short stop."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(int(np.ceil(seconds / 0.3))):
        pulses = np.zeros(2_880)
        pulses[:: rng.integers(90, 160)] = 1.0
        for formant in (500 * rng.uniform(0.7, 1.4), 1500 * rng.uniform(0.7, 1.4), 2500, 3500):
            radius = np.exp(-np.pi * 90 / RATE)
            pulses = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], pulses)
        hiss = lfilter([1, -0.9], [1], rng.standard_normal(1_280))
        pause = np.zeros(640)
        parts += [pulses / np.std(pulses), 0.2 * hiss / np.std(hiss), pause]
    wave = np.concatenate(parts)[: round(seconds * RATE)]
    wave = 0.05 * wave + 1e-4 * rng.standard_normal(len(wave))
    return wave.astype(np.float32)


def heard(wave: np.ndarray) -> Heard:
    channels = Channels()
    channels.add(wave[:, None])
    return hear(wave.astype(np.float32), channels)


def kinds(wave: np.ndarray) -> list[str]:
    return [remark.kind for remark in remarks_on(heard(wave))]


def limited(wave: np.ndarray, hertz: float) -> np.ndarray:
    wave = np.convolve(wave, firwin(257, hertz, fs=RATE, window=("kaiser", 8.0)), "same")
    return np.round(wave * 32_768) / 32_768


def at_rate(wave: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(soxr.resample(wave, RATE, rate), rate, RATE)


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_speech_needs_no_remark(seed):
    found = heard(speech(seed=seed))
    assert kinds(speech(seed=seed)) == []
    assert found.speech_seconds == pytest.approx(3.0, abs=0.15)
    assert found.level_dbfs == pytest.approx(-27.5, abs=0.5)
    assert found.band_hz == 8_000
    assert (found.clipped, found.digital_silence, found.cancelled_db) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("edge", [2_600, 3_000, 3_400, 5_000, 7_000])
def test_the_end_of_the_band_is_found(seed, edge):
    assert heard(limited(speech(seed=seed), edge)).band_hz == pytest.approx(edge, abs=200)


@pytest.mark.parametrize(("rate", "edge"), [(8_000, 3_900), (11_025, 5_400)])
def test_so_is_that_of_a_lower_rate(rate, edge):
    assert heard(at_rate(speech(), rate)).band_hz == pytest.approx(edge, abs=150)


@pytest.mark.parametrize(("edge", "narrow"), [(2_600, True), (3_000, True), (3_400, False), (4_000, False)])
def test_less_than_telephone_speech_is_narrow(edge, narrow):
    assert ("narrow" in kinds(limited(speech(), edge))) == narrow


def test_a_tone_is_narrow_and_noise_is_not():
    noise = 0.05 * np.random.default_rng(0).standard_normal(2 * RATE)
    tone = 0.1 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE) + 1e-3 * noise
    assert heard(tone).band_hz < 700
    assert heard(noise).band_hz == 8_000


@pytest.mark.parametrize("background", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("seconds", [0.6, 1.8])
def test_a_little_speech_is_found_in_a_long_recording(background, seconds):
    rng = np.random.default_rng(1)
    wave = background * rng.standard_normal(60 * RATE)
    wave[20 * RATE :][: round(seconds * RATE)] += speech(seconds)
    found = heard(wave)
    assert found.speech_seconds == pytest.approx(seconds, abs=0.15)
    assert found.level_dbfs == pytest.approx(-26, abs=2)
    assert ("short" in kinds(wave)) == (seconds < 1)


def test_a_click_does_not_decide_what_is_speech():
    wave = 0.1 * speech()
    wave[RATE : RATE + 5] = 0.99
    assert heard(wave).speech_seconds == pytest.approx(3.0, abs=0.15)


def test_a_constant_offset_is_not_heard():
    assert heard(speech() + np.float32(0.2)).level_dbfs == pytest.approx(heard(speech()).level_dbfs, abs=0.2)


def test_digital_silence_is_a_share_of_the_recording():
    wave = np.concatenate([speech(), np.zeros(RATE), speech(), np.zeros(2 * RATE)])
    assert heard(wave).digital_silence == pytest.approx(1 / 3, abs=0.01)
    assert kinds(wave) == ["gaps"]
    assert kinds(np.concatenate([speech(), np.zeros(RATE // 2)])) == []
    faint = np.round(3e-5 * np.random.default_rng(0).standard_normal(len(wave)) * 32_768) / 32_768
    assert heard(wave + faint).digital_silence == 0


def test_level_and_clipping():
    assert kinds(speech() * 0.03) == ["faint"]
    assert heard(speech() * 0.03).level_dbfs == pytest.approx(-58, abs=0.5)
    assert kinds(np.clip(speech() * 20, -1, 1)) == ["clipped"]


def test_channels_that_cancel_in_part_are_remarked(tmp_path, write):
    right = -speech() + 0.5 * np.std(speech()) * np.random.default_rng(0).standard_normal(3 * RATE)
    _, found = listen(write(tmp_path / "a.wav", np.stack([speech(), right], axis=1)))
    assert [remark.kind for remark in remarks_on(found)] == ["phase"]
    assert found.cancelled_db == pytest.approx(12.5, abs=1.5)


@pytest.mark.parametrize("samples", [1, 2, 300, 400, 511, 513])
def test_recordings_shorter_than_a_window(samples):
    found = heard(speech()[200 : 200 + samples] + np.linspace(0, 0.01, samples))
    assert (0 < found.speech_seconds <= samples / RATE) == (samples > 1)
    assert np.isfinite([found.level_dbfs, found.band_hz, found.cancelled_db]).all()


def test_nothing_but_ultrasound_is_refused(tmp_path, write):
    tone = 0.1 * np.sin(2 * np.pi * 20_000 * np.arange(96_000) / 96_000)
    with pytest.raises(AudioError, match=r"a\.wav: silent up to 8 kHz"):
        listen(write(tmp_path / "a.wav", tone * np.hanning(96_000), 96_000))


def test_remarks_have_their_figure():
    texts = {remark.kind: remark.text for remark in remarks_on(Heard(0.42, -53, 2_600, 0.02, 0.4, 12))}
    figures = {"short": "0.42 s", "narrow": "2.6 kHz", "gaps": "40%", "clipped": "2.0%"}
    figures |= {"faint": "-53 dB", "phase": "12 dB"}
    assert texts.keys() == figures.keys()
    assert all(figure in texts[kind] for kind, figure in figures.items())


def test_the_summary_has_a_line_for_each_kind():
    short, faint = Remark("short", "x"), Remark("faint", "y")
    found = summary([("a.wav", ()), ("b\x1b.wav", (short,)), ("c.wav", (short, faint)), ("d.wav", (short,))])
    assert found == ["less than 1 s of speech: b\\x1b.wav and 2 more", "very low level: c.wav"]
