"""Level, band and silence of a waveform: what conditions measure and change."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE, Decibels, Hertz
from molex_adapt.errors import AudioError
from molex_adapt.simulate.attack import Wave

CEILING = 0.99
"""The highest peak that is left, of full scale."""

_FRAME = 320
_ACTIVE_BELOW_PEAK: Decibels = 25.0
_HIGH_PASS_WIDTH: Hertz = 50.0
_LOW_PASS_WIDTH: Hertz = 200.0
_STOP_BAND: Decibels = 80.0
_AUDIBLE_BELOW_PEAK: Decibels = 30.0


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


def leveled(wave: Wave, level: Decibels) -> Wave:
    """(T,) with its active frames at `level` dB of full scale, or lower where the peak would not fit."""
    gain = 10 ** ((level - active_level(wave)) / 20)
    peak = float(np.abs(wave).max()) * gain
    return np.asarray(wave * (gain * min(1.0, CEILING / peak)), dtype=np.float32)


def band_limited(wave: Wave, low: Hertz, high: Hertz) -> Wave:
    """(T,) without what lies below `low` and above `high`; nothing is delayed."""
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


def trimmed(wave: Wave) -> Wave:
    """(T,) cut right at the first and last audible frame: a margin would tell recorded silence from padding."""
    audible = np.flatnonzero(active_frames(wave, _AUDIBLE_BELOW_PEAK))
    return wave[int(audible[0]) * _FRAME : (int(audible[-1]) + 1) * _FRAME]
