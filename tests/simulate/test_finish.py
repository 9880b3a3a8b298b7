from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import correlate, welch

from molex_adapt.errors import AudioError
from molex_adapt.simulate import Finish, make_attack
from molex_adapt.simulate.shaping import active_level


def power_db(wave, low, high):
    frequencies, power = welch(wave, 16_000, nperseg=512)
    return 10 * np.log10(power[(frequencies > low) & (frequencies < high)].mean() + 1e-20)


def test_band_is_empty_outside_and_untouched_inside(speech):
    wave = speech(1)
    out = Finish(codec="none", trim=False).apply(wave)
    assert power_db(out, 3550, 8000) < power_db(out, 300, 3200) - 75
    flat = Finish(codec="none", band=(0, 8000), trim=False).apply(wave)
    assert power_db(flat, 4000, 8000) > power_db(flat, 300, 3200) - 60
    assert abs(power_db(out, 300, 3200) - power_db(flat, 300, 3200)) < 0.5


def test_low_frequencies_are_cut():
    hum = np.sin(2 * np.pi * 20 * np.arange(32_000) / 16_000) + np.sin(
        2 * np.pi * 400 * np.arange(32_000) / 16_000
    )
    out = Finish(codec="none", trim=False).apply((0.2 * hum).astype(np.float32))[4000:-4000]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
    bins = np.fft.rfftfreq(out.size, 1 / 16_000)
    assert spectrum[np.argmin(abs(bins - 20))] < 1e-3 * spectrum[np.argmin(abs(bins - 400))]


def test_band_filter_delays_nothing(speech):
    wave = speech(2)
    out = Finish(codec="none", trim=False).apply(wave)
    lag = np.argmax(correlate(out, wave)) - (wave.size - 1)
    assert out.size == wave.size
    assert abs(lag) <= 1


@pytest.mark.parametrize("gain", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("codec", ["none", "g722", "gsm", "mulaw", "alaw"])
def test_level_is_fixed_whatever_the_input_level(speech, gain, codec):
    out = Finish(codec=codec).apply(speech(3) * np.float32(gain))
    assert active_level(out) == pytest.approx(-26.0, abs=0.3)
    assert np.abs(out).max() < 1


def test_a_lone_click_does_not_clip(speech):
    wave = speech(4) * np.float32(0.02)
    wave[8000] = 1.0
    assert np.abs(Finish(codec="none", band=(0, 8000), level_dbfs=-10).apply(wave)).max() <= 0.991


def test_trim_cuts_both_ends_but_no_pause(speech):
    quiet = (1e-5 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    inner = np.concatenate([speech(5), quiet, speech(6)])
    padded = np.concatenate([quiet, inner, quiet])
    trimmed = Finish(codec="none").apply(padded)
    alone = Finish(codec="none").apply(inner)
    assert abs(trimmed.size - alone.size) <= 640
    assert trimmed.size > 16_000 + 16_000
    assert Finish(codec="none", trim=False).apply(padded).size == padded.size


def test_g722_is_heard(speech):
    wave = speech(7)
    without, coded = (Finish(codec=codec, trim=False).apply(wave) for codec in ("none", "g722"))
    shift = np.argmax(correlate(coded, without)) - (without.size - 1)
    error = coded[shift : shift + without.size - shift] - without[: without.size - shift]
    assert -60 < 10 * np.log10(np.square(error).mean() / np.square(without).mean()) < -10


def test_the_null_attack_leaves_like_bona_fide(speech):
    finish, null = Finish(), make_attack("null", {})
    real = [finish.apply(speech(seed)) for seed in range(12)]
    forged = [finish.apply(null.apply(speech(seed), np.random.default_rng(seed))) for seed in range(12)]
    assert [wave.size for wave in real] == pytest.approx([wave.size for wave in forged], abs=320)
    for low in range(100, 3300, 400):
        difference = [
            power_db(a, low, low + 400) - power_db(b, low, low + 400)
            for a, b in zip(real, forged, strict=True)
        ]
        assert abs(np.mean(difference)) < 0.5
    assert np.mean([active_level(wave) for wave in real]) == pytest.approx(
        np.mean([active_level(wave) for wave in forged]), abs=0.05
    )


@pytest.mark.parametrize(
    "wave", [np.zeros(16_000), np.zeros(0), np.full(16_000, np.nan), np.array([np.inf, 0.1] * 8000)]
)
def test_silence_and_broken_samples_are_refused(wave):
    with pytest.raises(AudioError):
        Finish().apply(wave.astype(np.float32))


@pytest.mark.parametrize(
    "fault", [{"band": (3000, 300)}, {"band": (0, 9000)}, {"codec": "zip"}, {"level_dbfs": 3}, {"lvl": 1}]
)
def test_wrong_parameters_are_refused(fault):
    with pytest.raises(ValidationError):
        Finish(**fault)


def test_very_short_sounds_pass(speech):
    assert Finish().apply(speech(8)[:700]).size > 0
