"""What each channel of a recording carries, counted before they are averaged, and the faults that forbid a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import Decibels

SILENT_PEAK: Decibels = -60.0
"""A recording, or a channel, whose loudest sample is below this, relative to full scale, is silent."""
SILENT_RMS: Decibels = -70.0
"""So is one whose root mean square is below this."""
CANCELLED: Decibels = 20.0
"""Channels whose mean is weaker than they are by this much cancel each other: two of one level correlate below -0.98.

What is left of them is their difference: noise, echo and coding errors rather than speech.
"""
FULL_SCALE = 0.9999
"""A sample of at least this size is at full scale: the largest one of 16 bits is."""

_CHUNK = 1 << 16
"""Samples that are counted at once: half a megabyte in double precision, which fits the caches."""


class Channels:
    """Counts extremes, mean and energy of every channel and of their mean, in constant memory.

    Everything is about the mean, so that a constant offset is no sound. The samples are those of the file, at its own
    rate: resampling would turn constants at the ends of a recording into clicks.
    """

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        """What opening the file told, by kind: `header`, `track`, `level`."""
        self._held: list[NDArray[Any]] = []
        self._held_samples = 0
        self._channels = _Sums(0)
        self._mean = _Sums(1)
        self._full = 0
        self._samples = 0

    def add(self, block: NDArray[Any]) -> None:
        """Count (n, C) samples in [-1, 1]. They are kept, and must not change, until some more have come."""
        # The frames of most codecs are a thousand samples: counted one by one they would cost more than their decoding.
        self._held.append(block)
        self._held_samples += block.size
        if self._held_samples >= _CHUNK or block.shape[1] != self._held[0].shape[1]:
            self._count()

    @property
    def clipped(self) -> float:
        """Share of the samples of all channels that are at full scale."""
        self._count()
        return self._full / max(1, self._samples)

    @property
    def lost(self) -> Decibels:
        """How much weaker the mean of the channels is than they are; 0 for one channel, infinite if nothing is left."""
        self._count()
        alone, mixed = float(np.mean(self._channels.power)), float(self._mean.power[0])
        return _decibels(alone) - _decibels(mixed) if alone > 0 else 0.0

    @property
    def silent(self) -> bool:
        """Whether every channel is silent; True of nothing at all."""
        self._count()
        return not self._samples or bool(self._channels.silent.all())

    def fault(self) -> str | None:
        """Why this is no recording of speech, by name and with what to do; None if it may be one.

        Digital silence: no channel ever changes. Channels in anti-phase: their mean is at least `CANCELLED` weaker than
        they are. Silence: the mean is below `SILENT_PEAK` or `SILENT_RMS`. A dead channel: one of two is silent so. Of
        more than two, silent ones are usual (the bass and the rear of 5.1, unused inputs) and no fault.
        """
        self._count()
        if not self._samples:
            return None
        if np.all(self._channels.high == self._channels.low):
            values = "0" if not np.any(self._channels.high) else "the same"
            return f"digital silence: every sample is {values}. Expected speech. Leave it out, or record it again"
        silent = self._channels.silent
        if not silent.all() and self.lost >= CANCELLED:
            left = f"their mean is {_shown(self.lost)} dB weaker than they are"
            if np.isinf(self.lost):
                left = "nothing is left of them in their mean"
            return f"channels in anti-phase: {left}. Take one of them ({_taking(0)}), or mend the wiring"
        if self._mean.silent[0]:
            return (
                f"silent: peak {_shown(self._mean.peak[0])} dB, RMS {_shown(self._mean.rms[0])} dB of full scale; "
                f"at least {SILENT_PEAK:.0f} and {SILENT_RMS:.0f} dB are needed"
            )
        if len(silent) == 2 and silent.any():
            dead = int(np.argmax(silent))
            return (
                f"dead channel: channel {dead + 1} of 2 is silent (peak {_shown(self._channels.peak[dead])} dB, RMS "
                f"{_shown(self._channels.rms[dead])} dB of full scale), the other is not. If that one holds all there "
                f"was to record, take it alone ({_taking(1 - dead)})"
            )
        return None

    def _count(self) -> None:
        held, self._held, self._held_samples = self._held, [], 0
        while held:
            width = held[0].shape[1]
            same = next((at for at, block in enumerate(held) if block.shape[1] != width), len(held))
            block = held[0] if same == 1 else np.concatenate(held[:same])
            held = held[same:]
            rows = max(1, _CHUNK // width)
            for start in range(0, len(block), rows):
                self._count_chunk(block[start : start + rows])

    def _count_chunk(self, block: NDArray[Any]) -> None:
        wide = np.ascontiguousarray(block.T, dtype=np.float64)
        self._channels.add(wide)
        if len(wide) > 1:
            self._mean.add(wide.mean(axis=0, keepdims=True))
        else:
            self._mean = self._channels
        self._samples += wide.size
        if self._channels.reaches(FULL_SCALE):
            self._full += int(np.count_nonzero(np.abs(wide) >= FULL_SCALE))


class _Sums:
    """Sums over the samples of each of C channels."""

    def __init__(self, count: int) -> None:
        self.samples = np.zeros(count)
        self.total = np.zeros(count)
        self.squares = np.zeros(count)
        self.low = np.full(count, np.inf)
        self.high = np.full(count, -np.inf)

    def add(self, block: NDArray[np.float64]) -> None:
        """Add (C, n). A codec may change its number of channels on the way; each counts as long as it is there."""
        if len(block) > len(self.samples):
            self._widen(len(block) - len(self.samples))
        here = slice(0, len(block))
        self.samples[here] += block.shape[1]
        self.total[here] += block.sum(axis=1)
        self.squares[here] += np.einsum("cn,cn->c", block, block)
        self.low[here] = np.minimum(self.low[here], block.min(axis=1))
        self.high[here] = np.maximum(self.high[here], block.max(axis=1))

    def _widen(self, more: int) -> None:
        fresh = _Sums(more)
        for name, start in vars(fresh).items():
            setattr(self, name, np.concatenate([getattr(self, name), start]))

    def reaches(self, size: float) -> bool:
        """Whether any sample is that large."""
        return bool(self.high.max() >= size or self.low.min() <= -size)

    @property
    def power(self) -> NDArray[np.float64]:
        """(C,) mean square about the mean."""
        return np.maximum(0.0, self.squares / self.samples - np.square(self.total / self.samples))

    @property
    def rms(self) -> NDArray[np.float64]:
        """(C,) dB of full scale, about the mean."""
        return np.array([_decibels(power) for power in self.power])

    @property
    def peak(self) -> NDArray[np.float64]:
        """(C,) dB of full scale, about the mean."""
        middle = self.total / self.samples
        return np.array(
            [_decibels(size**2) for size in np.maximum(self.high - middle, middle - self.low).tolist()]
        )

    @property
    def silent(self) -> NDArray[np.bool_]:
        """(C,)."""
        return (self.peak < SILENT_PEAK) | (self.rms < SILENT_RMS)


def _decibels(power: float) -> Decibels:
    return float(10 * np.log10(power)) if power > 0 else -np.inf


def _shown(level: Decibels) -> str:
    return f"{level:.0f}"


def _taking(channel: int) -> str:
    return f'ffmpeg -i IN -af "pan=mono|c0=c{channel}" OUT.wav'
