"""Attacks on the parts of the voice: an LPC vocoder, a shift of formants and pitch, a phase-vocoder pitch shift.

Shapes: N samples of a frame, P order of the prediction.
"""

from __future__ import annotations

import warnings
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from molex_adapt.conventions import SAMPLE_RATE, Hertz
from molex_adapt.errors import AudioError
from molex_adapt.simulate.attack import CopySynthesis, Span, Wave, draw, load_optional, resample
from molex_adapt.simulate.spectrum import Spectrum, analyse, overlap_add, synthesise

_PARSELMOUTH = ("parselmouth", "The attack formant_shift", "praat-parselmouth")
_LOWEST: Hertz = 70.0
_HIGHEST: Hertz = 400.0

Ratio = Annotated[float, Field(ge=0.5, le=2.0)]


class Lpc(CopySynthesis):
    """A classical LPC vocoder: all-pole envelope, pulses where the speech is voiced, noise elsewhere."""

    name: ClassVar[str] = "lpc"
    order: int = Field(default=18, ge=6, le=40)
    frame: int = Field(default=512, ge=256, le=1024, multiple_of=4)
    """Samples a frame; frames overlap by three quarters."""
    voicing: float = Field(default=0.45, gt=0, lt=1)
    """Least normalised autocorrelation of a voiced frame."""

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        hop = self.frame // 4
        padded = np.pad(wave.astype(np.float64), (self.frame // 2, self.frame))
        window = np.hanning(self.frame + 1)[:-1]
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.frame)[::hop] * window
        correlation = _autocorrelation(frames)
        period = _periods(correlation, window, self.voicing)
        excitation = _excitation(period, hop, self.frame, rng)
        poles, error = _levinson(correlation[:, : self.order + 1])
        gain = np.sqrt(np.maximum(error, 0) / np.square(window).sum()) / 2
        built = np.stack([_filtered(*row) for row in zip(excitation * window, poles, gain, strict=True)])
        whole = overlap_add(built.astype(np.float32), hop)
        return whole[self.frame // 2 : self.frame // 2 + wave.size]


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, N) to (F, N) lags from 0."""
    size = frames.shape[1]
    power = np.abs(np.fft.rfft(frames, 2 * size, axis=1)) ** 2
    return np.asarray(np.fft.irfft(power, axis=1)[:, :size])


def _periods(
    correlation: NDArray[np.float64], window: NDArray[np.float64], voicing: float
) -> NDArray[np.int64]:
    """Pitch period of every frame in samples, 0 where unvoiced; the window's own autocorrelation divided out."""
    own = _autocorrelation(window[None])[0]
    low, high = int(SAMPLE_RATE / _HIGHEST), min(int(SAMPLE_RATE / _LOWEST), int(window.size * 0.6))
    scaled = correlation[:, low:high] / np.maximum(correlation[:, :1], 1e-12) * (own[0] / own[low:high])
    best = scaled.argmax(axis=1)
    strength = scaled[np.arange(len(best)), best]
    return np.where(strength >= voicing, best + low, 0).astype(np.int64)


def _excitation(
    period: NDArray[np.int64], hop: int, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Unit-power pulses or noise, one running signal cut into overlapping frames: (F, size)."""
    total = hop * (len(period) - 1) + size
    signal = rng.standard_normal(total)
    position = 0
    for start in range(0, total, hop):
        lag = int(period[min(max(start // hop - size // (2 * hop), 0), len(period) - 1)])
        stop = min(start + hop, total)
        if lag == 0:
            position = stop
            continue
        signal[start:stop] = 0
        position = max(position, start)
        while position < stop:
            signal[position] = np.sqrt(lag)
            position += lag
    return np.lib.stride_tricks.sliding_window_view(signal, size)[::hop]


def _levinson(correlation: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levinson-Durbin for every frame at once: (F, P + 1) lags to (F, P + 1) predictor and (F,) residual energy."""
    lags = correlation.copy()
    lags[:, 0] = lags[:, 0] * (1 + 1e-6) + 1e-9
    count, size = lags.shape
    poles = np.zeros((count, size))
    poles[:, 0] = 1
    error = lags[:, 0].copy()
    for order in range(1, size):
        reflection = -(poles[:, :order] * lags[:, order:0:-1]).sum(axis=1) / error
        before = poles.copy()
        poles[:, 1 : order + 1] += reflection[:, None] * before[:, order - 1 :: -1][:, :order]
        error *= 1 - reflection**2
    return poles, error


def _filtered(
    excitation: NDArray[np.float64], poles: NDArray[np.float64], gain: float
) -> NDArray[np.float64]:
    from scipy.signal import lfilter

    return np.asarray(lfilter([gain], poles, excitation))


class FormantShift(CopySynthesis):
    """Praat's "Change gender": formants and pitch moved by overlap-add, like a simple voice changer."""

    name: ClassVar[str] = "formant_shift"
    formants: Span[Ratio] = (1.08, 1.25)
    """Lowest and highest ratio; half of the recordings are moved down by it instead of up."""
    pitch: Span[Ratio] = (1.05, 1.3)
    """Lowest and highest ratio of the median pitch, in the same direction."""
    pitch_range: Ratio = 1.0
    """Ratio of the pitch's excursions."""

    def check(self) -> None:
        load_optional(*_PARSELMOUTH)

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        praat = load_optional(*_PARSELMOUTH)
        call = load_optional("parselmouth.praat", *_PARSELMOUTH[1:]).call
        up = bool(rng.integers(2))
        formants, ratio = (
            value if up else 1 / value for value in (draw(self.formants, rng), draw(self.pitch, rng))
        )
        try:
            praat.praat.run(f"random_initializeWithSeedUnsafelyButPredictably ({int(rng.integers(2**31))})")
            sound = praat.Sound(wave.astype(np.float64), sampling_frequency=SAMPLE_RATE)
            median = float(call(call(sound, "To Pitch", 0.0, 60, 600), "Get quantile", 0, 0, 0.5, "Hertz"))
            goal = median * ratio if np.isfinite(median) else 0.0
            with warnings.catch_warnings():
                # Without voice nothing is wrong: what is whispered is moved as well.
                warnings.simplefilter("ignore", praat.PraatWarning)
                moved = call(sound, "Change gender", 60, 600, formants, goal, self.pitch_range, 1.0)
        except praat.PraatError as error:
            raise AudioError(
                f"Praat could not change the voice ({error}). Leave this recording out."
            ) from error
        return np.asarray(moved.values[0, : wave.size], dtype=np.float32)


class PhaseVocoder(CopySynthesis):
    """Pitch and formants moved together: stretched in time by a phase vocoder, then resampled to the old length."""

    name: ClassVar[str] = "phase_vocoder"
    semitones: Span[Annotated[float, Field(ge=0.1, le=12)]] = (0.7, 2.0)
    """Smallest and largest shift; half of the recordings are moved down by it instead of up."""
    n_fft: int = Field(default=1024, ge=256, le=4096, multiple_of=8)

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        if wave.size < 2 * self.n_fft:
            raise AudioError(
                f"{wave.size} samples are fewer than two frames of {self.n_fft}; leave this one out."
            )
        steps = draw(self.semitones, rng) * (1 if rng.integers(2) else -1)
        ratio = 2 ** (steps / 12)
        hop = self.n_fft // 8
        stretched = _stretched(analyse(wave, self.n_fft, hop), 1 / ratio, self.n_fft, hop)
        longer = synthesise(stretched, self.n_fft, hop, round(wave.size * ratio))
        return resample(longer, SAMPLE_RATE * ratio)[: wave.size]


def _stretched(spectrum: Spectrum, pace: float, n_fft: int, hop: int) -> Spectrum:
    """Frames at steps of `pace` instead of 1, phases advanced by what each bin really turned (Laroche, Dolson 1999)."""
    places = np.arange(0, len(spectrum) - 1, pace)
    first = places.astype(np.int64)
    share = (places - first)[:, None]
    magnitude = (1 - share) * np.abs(spectrum[first]) + share * np.abs(spectrum[first + 1])
    expected = 2 * np.pi * hop * np.arange(n_fft // 2 + 1) / n_fft
    turned = np.angle(spectrum[first + 1]) - np.angle(spectrum[first]) - expected
    advance = expected + turned - 2 * np.pi * np.round(turned / (2 * np.pi))
    phase = np.angle(spectrum[:1]) + np.concatenate(
        [np.zeros((1, advance.shape[1])), np.cumsum(advance, axis=0)[:-1]]
    )
    return np.asarray(magnitude * np.exp(1j * phase), dtype=np.complex64)
