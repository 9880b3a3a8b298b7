"""Speech for pretraining: one continuous stream per speaker and listening condition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Table, decode
from molex_adapt.errors import AudioError, DataError
from molex_adapt.progress import Progress, Silent

LEVEL_RMS = 10 ** (-26 / 20)
"""The level of all streams: 26 dB below full scale, as telephony measures speech."""
TELEPHONE_BAND = (50.0, 3400.0)
"""Hertz."""


@dataclass(frozen=True)
class Stream:
    """All recordings of one speaker in a row.

    Attributes:
        speaker: name of the speaker.
        condition: `wide`, `narrow` (telephone band) or `degraded`.
        wave: (T,) float32 at 16 kHz; T is a whole number of frames.
    """

    speaker: str
    condition: str
    wave: NDArray[np.float32]

    @property
    def frames(self) -> int:
        """Whole 20 ms steps in the stream."""
        return len(self.wave) // FRAME_SAMPLES


def build_streams(
    table: Table, conditions: tuple[str, ...], seed: int, progress: Progress | None = None
) -> list[Stream]:
    """Decode a table of bona fide speech into streams, one per speaker and condition.

    Recordings get the same level and are joined, so that crops need no padding.

    Raises:
        DataError: no recording could be used.
    """
    progress = progress or Silent()
    progress.start("decode speech", len(table))
    by_speaker: dict[str, list[NDArray[np.float32]]] = {}
    for utterance in table:
        progress.advance()
        try:
            wave = decode(utterance.path)
        except AudioError as error:
            progress.note(f"left out: {error}")
            continue
        wave = wave[: len(wave) // FRAME_SAMPLES * FRAME_SAMPLES]
        rms = float(np.sqrt(np.mean(wave**2))) if len(wave) else 0.0
        if rms > 1e-5:  # silence would be amplified to noise at the level of speech
            level = np.clip(wave * (LEVEL_RMS / rms), -1, 1).astype(np.float32)
            by_speaker.setdefault(utterance.speaker or "unknown", []).append(level)
    progress.stop()
    if not by_speaker:
        raise DataError(f"{table.root}: no usable speech to pretrain on; give a folder of recordings")
    streams = []
    for number, (speaker, waves) in enumerate(sorted(by_speaker.items())):
        wide = np.concatenate(waves)
        for condition in conditions:
            generator = np.random.default_rng([seed, number])
            streams.append(Stream(speaker, condition, hear(wide, condition, generator)))
    return streams


def hear(wave: NDArray[np.float32], condition: str, generator: np.random.Generator) -> NDArray[np.float32]:
    """The stream in a listening condition; same length."""
    if condition == "wide":
        return wave
    if condition == "narrow":
        return _band_limit(wave, *TELEPHONE_BAND)
    if condition == "degraded":
        return _degrade(wave, generator)
    raise DataError(f"unknown listening condition {condition!r}; known: wide, narrow, degraded")


def _band_limit(wave: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    from scipy.signal import butter, sosfiltfilt

    filter_ = butter(6, (low, high), btype="bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfiltfilt(filter_, wave), dtype=np.float32)


def _degrade(wave: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Noise, reverberation, clipping or coarse quantisation; another one every four seconds.

    None of these is an attack that the package simulates. The base learns that recordings differ, not what spoofs are.
    """
    segment = 4 * SAMPLE_RATE
    pieces = []
    for start in range(0, len(wave), segment):
        piece = wave[start : start + segment]
        change = (_add_noise, _reverberate, _clip, _requantise)[generator.integers(4)]
        piece = change(piece, generator)
        if generator.random() < 0.5:
            piece = _band_limit(piece, 50.0, float(generator.uniform(2800, 5000)))
        pieces.append(piece)
    return np.concatenate(pieces).astype(np.float32)


def _add_noise(wave: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    spectrum = np.fft.rfft(generator.standard_normal(len(wave)))
    colour = np.arange(1, len(spectrum) + 1) ** -generator.uniform(0, 0.75)
    noise = np.fft.irfft(spectrum * colour, len(wave))
    gain = LEVEL_RMS / np.sqrt(np.mean(noise**2)) * 10 ** (-generator.uniform(10, 35) / 20)
    return np.asarray(wave + gain * noise, dtype=np.float32)


def _reverberate(wave: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    from scipy.signal import fftconvolve

    time = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    # exp(-6.9) is a fall of 60 dB in amplitude: the drawn number is the reverberation time in seconds.
    tail = generator.standard_normal(len(time)) * np.exp(-time * 6.9 / generator.uniform(0.1, 0.5))
    tail *= generator.uniform(0.1, 0.5) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(wave, tail)[: len(wave)], dtype=np.float32)


def _clip(wave: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    limit = LEVEL_RMS * generator.uniform(1.0, 3.0)
    return np.clip(wave, -limit, limit)


def _requantise(wave: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    steps = 2 ** generator.integers(5, 8)
    return np.asarray(np.round(wave * steps) / steps, dtype=np.float32)
