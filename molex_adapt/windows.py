"""How a recording becomes windows, and the scores of its windows one score. Arrays alone, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.data import Heard, Utterance
from molex_adapt.errors import AudioError


@dataclass(frozen=True)
class UtteranceScore:
    """The score of one file: a log-likelihood ratio in nats, higher is more bona fide."""

    utterance: Utterance
    score: float
    seconds: Seconds
    heard: Heard
    experts: dict[str, float] = field(default_factory=dict)
    """How much each expert spoke: shares after top-k over all blocks. They sum to 1, or to less beside a rest."""
    lowest: float | None = None
    """The score of the window that speaks most against it, nats; None where all was heard in one."""
    audio: str | None = None
    """As `Utterance.audio`, of what was decoded to score it; None from exported detectors and interrupted runs."""


def windows_of(wave: NDArray[np.float32], shortest: int, longest: int) -> list[NDArray[np.float32]]:
    """Cut one recording into windows of nearly equal length.

    Args:
        wave: (T,) float32 in [-1, 1] at 16 kHz, any length.
        shortest, longest: samples that can be heard at once.

    Raises:
        AudioError: shorter than the shortest, or not finite.
    """
    if len(wave) < shortest:
        raise AudioError(
            f"{len(wave)} samples at 16 kHz are fewer than the {shortest} ({shortest / SAMPLE_RATE:.3f} s) that are "
            "needed to hear anything; leave out recordings that short"
        )
    if not np.isfinite(wave).all():
        raise AudioError("the samples are not all finite; export the recording again")
    # Equal parts: a short rest at the end would be scored from too little, and could be below the receptive field.
    return np.array_split(wave, -(-len(wave) // longest))


def together(
    item: Utterance,
    parts: Sequence[tuple[int, float, NDArray[np.float32]]],
    heard: Heard,
    names: Sequence[str],
) -> UtteranceScore:
    """The mean over windows, weighted by their length, so that all of a recording counts the same.

    Args:
        item, heard: the recording.
        parts: of each window its samples, its score and (E,) shares of the experts.
        names: of the E experts.
    """
    samples = sum(length for length, _, _ in parts)
    score = sum(length * score for length, score, _ in parts) / samples
    shares = sum(length * share for length, _, share in parts) / samples
    return UtteranceScore(
        item,
        score,
        samples / SAMPLE_RATE,
        heard,
        dict(zip(names, np.asarray(shares).tolist(), strict=True)),
        min(score for _, score, _ in parts) if len(parts) > 1 else None,
    )
