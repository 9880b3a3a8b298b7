"""The finish: both classes leave through it, so that channel, band, level and silence tell nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from molex_adapt.conventions import SAMPLE_RATE, Decibels, Hertz
from molex_adapt.errors import AudioError
from molex_adapt.simulate.attack import Wave
from molex_adapt.simulate.coding import gsm, round_trip

_FRAME = 320
_ACTIVE_BELOW_PEAK: Decibels = 25.0
_CEILING = 0.99
_HIGH_PASS_WIDTH: Hertz = 50.0
_LOW_PASS_WIDTH: Hertz = 200.0
_STOP_BAND: Decibels = 80.0
_AUDIBLE_BELOW_PEAK: Decibels = 30.0

FinishCodec = Literal["none", "g722", "alaw", "mulaw", "gsm"]
_CODECS: dict[str, Callable[[Wave], Wave]] = {
    "g722": partial(round_trip, encoder="g722", decoder="g722", seamless=True),
    "alaw": partial(round_trip, encoder="pcm_alaw", decoder="pcm_alaw", rate=8_000, seamless=True),
    "mulaw": partial(round_trip, encoder="pcm_mulaw", decoder="pcm_mulaw", rate=8_000, seamless=True),
    "gsm": gsm,
}
"""G.722 at 64 kbit/s, G.711 and GSM 06.10 full rate: (T,) to (T',)."""


class Finish(BaseModel):
    """Codec round trip, band limit, level, silence trim, in this order, for bona fide and spoof alike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: FinishCodec = "g722"
    """The corpus's own codec, whose noise would mark bona fide speech; "none" for uncompressed corpora."""
    band: tuple[Hertz, Hertz] = (50.0, 3_400.0)
    """Pass band in Hz; 3,400 because narrow-band codecs would be known by their band."""
    level_dbfs: Decibels = Field(default=-26.0, ge=-60.0, le=-10.0)
    """RMS level of the active frames, in dB relative to full scale."""
    trim: bool = True
    """Cut silence at both ends; pauses inside stay."""

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        low, high = self.band
        if not 0 <= low < high <= SAMPLE_RATE / 2:
            raise ValueError(f"band {low}-{high} Hz; expected 0 <= low < high <= {SAMPLE_RATE // 2}")
        return self

    def apply(self, wave: Wave) -> Wave:
        """Pass one recording through the finish: (T,) float32, 16 kHz, to (T',) likewise, at most full scale.

        Raises:
            AudioError: samples that are not finite, or silence.

        Source: own; active level in the spirit of ITU-T P.56.
        """
        if not np.isfinite(wave).all():
            raise AudioError("The waveform has samples that are not finite; expected values in [-1, 1].")
        if self.codec != "none":
            wave = _CODECS[self.codec](_leveled(wave, self.level_dbfs))
        wave = _leveled(_band_limited(wave, *self.band), self.level_dbfs)
        return _trimmed(wave) if self.trim else wave


def frame_power(wave: Wave) -> NDArray[np.float64]:
    """(T,) to the mean square of every whole or begun 20 ms frame, (F,)."""
    padded = np.pad(wave.astype(np.float64), (0, -wave.size % _FRAME))
    return np.asarray(np.square(padded).reshape(-1, _FRAME).mean(axis=1))


def active_frames(wave: Wave, below: Decibels = _ACTIVE_BELOW_PEAK) -> NDArray[np.bool_]:
    """Which 20 ms frames of (T,) lie at most `below` dB under the loud ones (the 95th percentile): (F,).

    Raises:
        AudioError: nothing to hear.
    """
    power = frame_power(wave)
    loud = float(np.quantile(power, 0.95)) if power.size else 0.0
    if loud < 1e-10:
        raise AudioError(
            f"The recording of {wave.size / SAMPLE_RATE:.2f} s is silent (loud frames at {loud:.1e} of full "
            "power). Expected speech; leave this recording out."
        )
    return np.asarray(power >= loud * 10 ** (-below / 10))


def active_level(wave: Wave) -> Decibels:
    """RMS of the active frames of (T,), in dB relative to full scale."""
    return float(10 * np.log10(frame_power(wave)[active_frames(wave)].mean()))


def _leveled(wave: Wave, level: Decibels) -> Wave:
    gain = 10 ** ((level - active_level(wave)) / 20)
    peak = float(np.abs(wave).max()) * gain
    return np.asarray(wave * (gain * min(1.0, _CEILING / peak)), dtype=np.float32)


def _band_limited(wave: Wave, low: Hertz, high: Hertz) -> Wave:
    from scipy.signal import oaconvolve

    taps = _filter_taps(low, high)
    if taps.size == 1:
        return wave
    padded = np.pad(wave, (0, max(0, taps.size - wave.size)))
    return np.asarray(oaconvolve(padded, taps, mode="same")[: wave.size], dtype=np.float32)


@lru_cache(maxsize=8)
def _filter_taps(low: Hertz, high: Hertz) -> NDArray[np.float64]:
    """Linear-phase band pass, 80 dB down at half a transition width outside `low` and `high`."""
    from scipy.signal import firwin, kaiser_beta, kaiserord

    taps = np.ones(1)
    if low > 0:
        size = kaiserord(_STOP_BAND, _HIGH_PASS_WIDTH / (SAMPLE_RATE / 2))[0] | 1
        window = ("kaiser", kaiser_beta(_STOP_BAND))
        taps = np.convolve(taps, firwin(size, low, window=window, pass_zero=False, fs=SAMPLE_RATE))
    if high + _LOW_PASS_WIDTH / 2 < SAMPLE_RATE / 2:
        size = kaiserord(_STOP_BAND, _LOW_PASS_WIDTH / (SAMPLE_RATE / 2))[0] | 1
        window = ("kaiser", kaiser_beta(_STOP_BAND))
        taps = np.convolve(taps, firwin(size, high, window=window, fs=SAMPLE_RATE))
    return np.asarray(taps)


def _trimmed(wave: Wave) -> Wave:
    """Cut right at the first and last audible frame: a margin would tell recorded silence from a codec's padding."""
    audible = np.flatnonzero(active_frames(wave, _AUDIBLE_BELOW_PEAK))
    return wave[int(audible[0]) * _FRAME : (int(audible[-1]) + 1) * _FRAME]
