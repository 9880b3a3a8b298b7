"""Statistics of the spectrum, and how features carry them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from molex_adapt import Run
from molex_adapt.api.fitting import exemplars_of
from molex_adapt.base import load_base
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError, HubError
from molex_adapt.features import Features, concatenate, extract, pad, source_id
from molex_adapt.low_level import POWER, STATISTICS, Spectrum, residual
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.registry.checks import check_exemplars
from molex_adapt.registry.exemplars import features_to_arrays


def waves(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def test_statistics_do_not_depend_on_padding_or_level():
    spectrum, rows = Spectrum(), waves(16_000, 9_000, 700, 100)
    together = spectrum(*pad(rows))
    assert together.shape == (4, STATISTICS)
    assert torch.isfinite(together).all()
    for row, found in zip(rows, together, strict=True):
        torch.testing.assert_close(spectrum(*pad([row]))[0], found, atol=2e-5, rtol=0)
        torch.testing.assert_close(spectrum(*pad([row * 0.01]))[0], found, atol=2e-3, rtol=0)
    assert torch.isfinite(spectrum(torch.zeros(1, 800), torch.tensor([800]))).all()


def test_statistics_are_those_of_the_spectrum():
    time = np.arange(16_000) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    found = Spectrum()(*pad([tone]))[0]
    assert int(found[:257].argmax()) == 32  # 1000 Hz of 16000 in 512
    assert found[257 : 257 + 257][32] < 0.01  # a tone does not vary
    assert int(found[514 : 514 + 64].argmax()) in (7, 8)


def test_power_comes_first_and_can_be_heard_alone():
    rows = pad(waves(16_000, 700))
    assert torch.equal(Spectrum(POWER)(*rows), Spectrum()(*rows)[:, :POWER])


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(16_000),
        np.sin(0.4 * np.arange(16_000)),
        np.sign(np.sin(0.1 * np.arange(16_000))),
        np.eye(1, 900)[0],
    ],
    ids=["silence", "tone", "square", "click"],
)
def test_any_waveform_has_finite_statistics(wave):
    assert torch.isfinite(Spectrum()(*pad([wave.astype(np.float32)]))).all()


def phases_of(wave: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(40,) along time, (40,) along frequency."""
    found = Spectrum()(*pad([wave.astype(np.float32)]))[0]
    return found[POWER : POWER + 40], found[POWER + 40 : POWER + 80]


def test_a_tone_turns_steadily_along_time_and_pulses_along_frequency():
    time = np.arange(16_000) / 16_000
    tone, _ = phases_of(np.sin(2 * np.pi * 1000 * time))
    assert tone[4] > 0.99 and tone[20] < 0.5  # of 40 bands of 200 Hz; 4 kHz is empty
    pulses = np.zeros(16_000)
    pulses[::320] = 1.0  # at most two within a window, of which its ends hear little
    noise_in_time, noise_across = phases_of(waves(16_000)[0])
    assert phases_of(pulses)[1].mean() > noise_across.mean() + 0.1
    assert noise_in_time.abs().max() < 0.3


def test_phases_that_are_drawn_at_random_are_told_from_those_of_speech_like_tones():
    time, rng = np.arange(16_000) / 16_000, np.random.default_rng(0)
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 40))
    spectrum = np.fft.rfft(voice.reshape(-1, 400), axis=1)
    drawn = np.abs(spectrum) * np.exp(2j * np.pi * rng.random(spectrum.shape))
    frames = np.fft.irfft(drawn, 400, axis=1).ravel()  # the same power, frame by frame
    assert phases_of(voice)[0][:20].mean() > phases_of(frames)[0][:20].mean() + 0.2


def residual_of(wave: np.ndarray) -> torch.Tensor:
    """(9,): means, deviations and deviations of differences of skewness, log kurtosis and log gain."""
    return Spectrum()(*pad([wave.astype(np.float32)]))[0][POWER + 80 :]


def test_the_gain_of_prediction_is_that_of_the_process():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(64_000)
    wave = np.zeros_like(noise)
    for at in range(1, len(wave)):
        wave[at] = 0.9 * wave[at - 1] + noise[at]
    assert residual_of(wave)[2] == pytest.approx(-np.log(1 - 0.9**2), abs=0.1)
    assert residual_of(noise)[2] == pytest.approx(0.0, abs=0.1)
    assert residual_of(noise)[1] == pytest.approx(np.log(3), abs=0.1)  # of normal noise


def test_pulses_lean_to_the_side_of_their_polarity():
    pulses = np.zeros(16_000)
    pulses[::133] = 1.0
    wave = np.convolve(pulses, 0.9 ** np.arange(60) * np.cos(0.3 * np.arange(60)))[:16_000]
    up, down = residual_of(wave), residual_of(-wave)
    assert up[0] > 1 and up[0] == pytest.approx(-float(down[0]), abs=1e-3)
    assert up[1] == pytest.approx(float(down[1]), abs=1e-3) and up[1] > np.log(6)


def test_the_residual_is_what_a_resonance_was_driven_by():
    from scipy.signal import lfilter
    from scipy.stats import kurtosis

    pulses = np.zeros(16_000)
    pulses[::160] = 1.0
    wave = lfilter([1.0], np.poly(0.995 * np.exp([0.3j, -0.3j])).real, pulses)
    assert np.log(kurtosis(wave, fisher=False)) < 1.5
    assert residual_of(wave)[1] > 2.5


def test_the_predictor_solves_the_normal_equations():
    from scipy.linalg import solve_toeplitz

    wave = waves(400)[0] + np.sin(0.5 * np.arange(400)).astype(np.float32)
    lags = residual._autocorrelation(torch.from_numpy(wave)[None, None])
    weights, left = residual._predictor(lags)
    own = lags[0, 0].double().numpy()
    expected = solve_toeplitz(own[:-1], -own[1:])
    assert float(weights[0, 0, 0]) == 1
    np.testing.assert_allclose(weights[0, 0, 1:], expected, atol=1e-3)
    assert float(left) == pytest.approx(float(own[0] + expected @ own[1:]), rel=1e-3)


def test_pauses_do_not_count():
    speech = waves(16_000)[0]
    paused = np.concatenate([speech[:8000], np.full(8000, 1e-6, np.float32), speech[8000:]])
    # The mean power, and with it the floor, halves; noise is far above the floor.
    alone, between = Spectrum()(*pad([speech]))[0], Spectrum()(*pad([paused]))[0]
    assert (alone[257:514] - between[257:514]).abs().max() < 0.3


def test_features_carry_statistics_and_the_cache_keeps_them(
    recorded, tmp_path, monkeypatch, tiny_folder_of, tiny_recipe
):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    table = read(recorded(tmp_path / "data", bona_fide=3, buzz=3))
    run = Run(cache=tmp_path / "cache")
    without, _ = extract(Detector(load_base(tiny_folder_of()), tiny_recipe()), table, run)
    assert without.statistics is None
    first, _ = extract(detector, table, run)
    monkeypatch.setattr(Spectrum, "forward", None)
    again, _ = extract(detector, table, run)
    assert first.statistics.shape == (6, STATISTICS)
    assert torch.equal(first.statistics, again.statistics)
    assert first.digest() == again.digest() != without.digest()
    assert torch.equal(first.pick([4]).statistics, first.statistics[4:5])
    cache = PrefixCache.standard(run.cache)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 12
    assert cache.info().recordings == 6
    cache.clear()
    assert not list((tmp_path / "cache").rglob("*.npy"))
    pooled = concatenate([first, without]).statistics
    assert pooled[6:].isnan().all()
    assert torch.equal(pooled[:6], first.statistics)


def heard(count: int, width: int) -> Features:
    """Random features with so many statistics, half of them bona fide."""
    real = torch.arange(count) < count // 2
    return Features(
        tuple(torch.randn(12, 16).half() for _ in range(count)),
        real,
        tuple(source_id(str(at)) for at in range(count)),
        tuple(None if label else "buzz" for label in real.tolist()),
        torch.randn(count, width),
    )


def test_damaged_statistics_of_exemplars_are_refused():
    features = heard(60, STATISTICS)
    arrays = features_to_arrays(features, "check", ["buzz"])
    check_exemplars(arrays, "here")
    for damaged, fault in (
        (arrays["check.statistics"][1:], "not one row for each of 60"),
        (arrays["check.statistics"] * np.float16(np.nan), "NaN or infinite"),
    ):
        with pytest.raises(ExpertError, match=fault):
            check_exemplars(arrays | {"check.statistics": damaged}, "here")


def test_exemplars_that_another_version_heard_are_refused_by_what_reads_them(tiny_folder_of, tiny_recipe):
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    features = heard(8, POWER)
    arrays = features_to_arrays(features, "check", ["buzz"]) | features_to_arrays(
        features, "replay", ["buzz"]
    )
    sent = SimpleNamespace(
        routing=None, exemplars=arrays, record=SimpleNamespace(data=SimpleNamespace(attacks=["buzz"]))
    )
    with pytest.raises(
        HubError, match=f"{POWER} wide, and the readout here reads {STATISTICS}: another version"
    ):
        exemplars_of(sent, detector, "lab/buzz")
    bare = Detector(load_base(tiny_folder_of()), tiny_recipe())
    assert len(exemplars_of(sent, bare, "lab/buzz").check) == 8  # nothing reads statistics there
