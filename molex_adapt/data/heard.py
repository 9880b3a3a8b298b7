"""What can be heard in a recording: how much speech, how loud, how wide a band, and what is no sound at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE, Decibels, Hertz, Seconds
from molex_adapt.data.audio import decode
from molex_adapt.data.channels import SILENT_RMS, Channels
from molex_adapt.errors import AudioError

_BLOCK_FRAMES = 1 << 11
"""Frames of 20 ms that are measured at once, which bounds the memory beside the recording itself (10 MB)."""
_ACTIVE_MARGIN: Decibels = 15.9
"""Speech is active down to this much below its active level; ITU-T P.56."""
_FEWEST_ACTIVE = 3
"""Frames; a click of less than 40 ms does not decide what level is active."""
_PAUSE_FRAMES = 10
"""Pauses up to 200 ms, such as stops, belong to speech; the hangover of ITU-T P.56."""
_DIGITAL: Decibels = -130.0
"""A frame below this, about its mean, holds no sound: one step of 16 bits in one of its samples is more."""

_WINDOW = 512
_TAPER = np.hanning(_WINDOW).astype(np.float32)
_MOST_WINDOWS = 1500
"""Half a minute of speech, drawn from all of it, is enough for a long-term spectrum."""
_SMOOTHED_BINS = 5
_HEARD_BELOW_PEAK: Decibels = 80.0
"""What is this far below the strongest part of the spectrum is filters and rounding."""
_EDGE: Decibels = 15.0
"""Where a band ends, the spectrum falls by this much within `_SLOPE` and stays down. Speech that was not cut falls so
only where nothing of it follows."""
_GONE: Decibels = 40.0
"""And what follows is this far below the strongest part: vowels fall by 15 dB above their first formant, too."""
_SLOPE: Hertz = 250.0
_LOWEST_EDGE: Hertz = 400.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard in one recording."""

    speech_seconds: Seconds
    """Active speech: frames within 15.9 dB of its level, and pauses up to 200 ms between them. Noise that is hardly
    weaker than speech counts as speech."""
    level_dbfs: Decibels
    """RMS level of the active frames, relative to full scale."""
    band_hz: Hertz
    """Up to where the spectrum of the active frames holds; 8000 where no end was found."""
    clipped: float
    """Share of samples at full scale, in any channel."""
    digital_silence: float
    """Share of the recording in which nothing changes, not even noise."""
    cancelled_db: Decibels = 0.0
    """How much weaker the mean of the channels, which is scored, is than the channels; 3 for independent ones."""
    notes: dict[str, str] = field(default_factory=dict)
    """What opening the file told, a sentence by kind: a header that is wrong, a track, a level beyond full scale."""


def listen(path: Path | str) -> tuple[NDArray[np.float32], Heard]:
    """Decode a recording once, and say what is heard in it.

    Returns:
        (T,) float32 as `decode` returns it; what was heard.

    Raises:
        AudioError: it cannot be decoded, or is digital or other silence, or has a dead channel or channels in
            anti-phase (`Channels.fault`).
    """
    channels = Channels()
    wave = decode(path, channels=channels)
    if (fault := channels.fault()) is not None:
        raise AudioError(f"{path}: {fault}.")
    heard = hear(wave, channels)
    if heard.level_dbfs < SILENT_RMS:  # what the channels carry lies above the band of the models
        raise AudioError(
            f"{path}: silent up to {SAMPLE_RATE // 2000} kHz: {heard.level_dbfs:.0f} dB of full scale. "
            "Expected speech. Leave it out, or record it again."
        )
    return wave, heard


def hear(wave: NDArray[np.float32], channels: Channels) -> Heard:
    """What is heard in (T,) samples at 16 kHz that were decoded with `channels`; -200 dB if nothing at all.

    Source: own; active speech after ITU-T P.56, by frames.
    """
    power = np.concatenate(list(_frame_powers(wave)))
    active = active_frames(power)
    places = np.flatnonzero(active)
    gaps = np.diff(places) - 1
    frames = len(places) + int(gaps[gaps <= _PAUSE_FRAMES].sum())
    return Heard(
        speech_seconds=min(frames * FRAME_SAMPLES, len(wave)) / SAMPLE_RATE,
        level_dbfs=_decibels(float(np.sum(power[active])) / max(1, len(places))),
        band_hz=_band(_spectrum(wave, places)),
        clipped=channels.clipped,
        digital_silence=float(np.mean(power < 10 ** (_DIGITAL / 10))),
        cancelled_db=channels.lost,
        notes=dict(channels.notes),
    )


def active_frames(power: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of (F,) frame powers are speech: the loudest ones, down to 15.9 dB below their own mean.

    Unlike a limit below the loudest part, this finds a second of speech in an hour of faint noise.
    """
    loudest = np.sort(power)[::-1]
    most = loudest[min(_FEWEST_ACTIVE, len(power)) - 1]
    mean = np.cumsum(np.minimum(loudest, most)) / np.arange(1, len(power) + 1)
    ends = mean * 10 ** (-_ACTIVE_MARGIN / 10) > np.append(loudest[1:], -1.0)
    ends[: min(_FEWEST_ACTIVE, len(power)) - 1] = False
    return np.asarray(power >= max(loudest[int(np.argmax(ends))], np.finfo(np.float64).tiny))


def _frame_powers(wave: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Mean squares about the mean of every whole 20 ms frame; of the whole recording if it is shorter."""
    size = min(FRAME_SAMPLES, len(wave))
    whole = wave[: len(wave) // size * size].reshape(-1, size)
    for start in range(0, len(whole), _BLOCK_FRAMES):
        block = whole[start : start + _BLOCK_FRAMES].astype(np.float64)
        # In double precision, this is exact to -150 dB beside the largest offset.
        yield np.maximum(0.0, np.einsum("fn,fn->f", block, block) / size - np.square(block.mean(axis=1)))


def _spectrum(wave: NDArray[np.float32], frames: NDArray[np.intp]) -> NDArray[np.float64]:
    """(257,) long-term power spectrum, over windows that begin with active frames; at most `_MOST_WINDOWS` of them."""
    padded = wave if len(wave) >= _WINDOW else np.pad(wave, (0, _WINDOW - len(wave)))
    starts = np.minimum(frames * FRAME_SAMPLES, len(padded) - _WINDOW)
    chosen = starts[np.linspace(0, len(starts) - 1, min(len(starts), _MOST_WINDOWS)).astype(int)]
    windows = padded[chosen[:, None] + np.arange(_WINDOW)] * _TAPER
    lines = np.fft.rfft(windows)
    return np.asarray((np.square(lines.real) + np.square(lines.imag)).sum(axis=0, dtype=np.float64))


def _band(spectrum: NDArray[np.float64]) -> Hertz:
    """The highest frequency at which a spectrum falls and nothing follows; the middle of the steepest fall there."""
    bin_width = SAMPLE_RATE / _WINDOW
    smooth = np.convolve(spectrum, np.ones(_SMOOTHED_BINS) / _SMOOTHED_BINS, "same")
    level = 10 * np.log10(
        np.maximum(smooth[:-2], np.finfo(np.float64).tiny)
    )  # the last ones are half beyond the end
    level = np.maximum(level, level.max() - _HEARD_BELOW_PEAK)
    slope = round(_SLOPE / bin_width)
    at = np.arange(round(_LOWEST_EDGE / bin_width), len(level) - slope)
    sums = np.cumsum(np.append(0.0, level))
    below = (sums[at + 1] - sums[at - slope]) / (slope + 1)
    above = np.maximum.accumulate(level[::-1])[::-1][at + slope]
    falls = np.flatnonzero((below - above >= _EDGE) & (above <= level.max() - _GONE))
    if not len(falls):
        return SAMPLE_RATE / 2
    last = np.split(falls, np.flatnonzero(np.diff(falls) > 1) + 1)[-1]
    steepest = last[np.argmax((below - above)[last])]
    return float((at[steepest] + slope / 2) * bin_width)


def _decibels(power: float) -> Decibels:
    return float(10 * np.log10(max(power, 1e-20)))
