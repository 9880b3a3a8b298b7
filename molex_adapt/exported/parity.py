"""Source and export side by side, on signals that are drawn for it: the same scores, sizes, times."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.detector import Detector
from molex_adapt.errors import MolexError

MOST_DIFFERENCE = 1e-4
"""Nats; beyond it an export is not the detector."""
RUNS = 5
TIMED: Seconds = 4.0
_LENGTHS: tuple[Seconds, ...] = (0.0, 0.5, 1.3, 4.0, 10.0)
"""What is compared; what is too short or too long for the detector becomes its shortest or longest window."""

Scorer: TypeAlias = Callable[[NDArray[np.float32]], float]
"""(T,) float32 in [-1, 1] at 16 kHz to a score."""


def drawn_signals(shortest: int, longest: int) -> list[NDArray[np.float32]]:
    """One for each length, the same every time."""
    lengths = sorted({min(max(int(seconds * SAMPLE_RATE), shortest), longest) for seconds in _LENGTHS})
    return [drawn_signal(length, seed) for seed, length in enumerate(lengths)]


def drawn_signal(samples: int, seed: int) -> NDArray[np.float32]:
    """Like speech in what a detector looks at: harmonics of a moving pitch, breath, syllables and pauses."""
    rng = np.random.default_rng(seed)
    at = np.arange(samples) / SAMPLE_RATE
    pitch = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * at))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 25))
    breath = np.convolve(rng.standard_normal(samples), (1.0, -0.6), "same")
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * at + rng.uniform(0, 6)) + 0.4, 0, None)
    return np.asarray(0.06 * (voice + 0.5 * breath) * syllables + 0.001 * breath, dtype=np.float32)


def of_source(detector: Detector) -> Scorer:
    """A detector in torch, one window at a time."""

    def score(wave: NDArray[np.float32]) -> float:
        prepared = torch.from_numpy(detector.base.prepare(wave))[None]
        return float(detector.score(prepared, torch.tensor([len(wave)])))

    return score


def require_parity(
    name: str, scorer: Scorer, signals: list[NDArray[np.float32]], scores: list[float]
) -> float:
    """The largest difference from the source's scores.

    Raises:
        MolexError: it is more than `MOST_DIFFERENCE`.
    """
    largest = 0.0
    for wave, score in zip(signals, scores, strict=True):
        found = scorer(wave)
        difference = abs(found - score)
        if not difference <= MOST_DIFFERENCE:  # not a number differs too
            raise MolexError(
                f"{name} gives {found:+.6f} for a signal of {len(wave) / SAMPLE_RATE:.2f} s where the detector gives "
                f"{score:+.6f}; expected a difference of at most {MOST_DIFFERENCE:g}. Nothing was written. This is a "
                "fault of molex-adapt, or of these versions of torch, onnxscript and onnxruntime: constraints.txt has "
                "those that agree; report it"
            )
        largest = max(largest, difference)
    return largest


def seconds_of(scorer: Scorer, wave: NDArray[np.float32]) -> Seconds:
    """Median of `RUNS` runs, after one that is not counted."""
    taken = []
    for _ in range(1 + RUNS):
        started = time.perf_counter()
        scorer(wave)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])
