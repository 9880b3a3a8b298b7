"""An open recording, and the errors of what cannot be one; what every way of opening has in common."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import Seconds
from molex_adapt.errors import AudioError

Source: TypeAlias = Path | io.RawIOBase
"""What a recording is read from: its file, or one in its place with a mended header."""
LITTLE: Seconds = 0.1
"""Encoders pad and round the length that they state by up to this much."""
_HIGHEST = 16.0
"""Floating-point audio may overshoot full scale. Beyond this, integers were written as floats."""
_RATES = range(4_000, 768_001)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open recording: its rate in hertz, its length in frames where the header tells, and its samples."""

    rate: int
    frames: int | None
    read_from: Callable[[int], Iterator[NDArray[np.float32]]]
    """Mono blocks (n,) from the given frame on. Memory is that of one block, even if the header is wrong."""


def damaged(path: Path, why: str) -> AudioError:
    """The error for a file that ends too early or does not decode."""
    return AudioError(
        f"{path} cannot be decoded ({why.strip().rstrip('.')}). Expected a whole audio file that soundfile or FFmpeg "
        "reads (WAV, FLAC, OGG, MP3, G.722, AMR, AAC, ...). Copy or download it again, or convert it: ffmpeg -i IN "
        "OUT.flac"
    )


def require_rate(path: Path, rate: int) -> None:
    """Refuse a sampling rate that no recording has.

    Raises:
        AudioError: it is below 4 kHz or above 768 kHz.
    """
    if rate not in _RATES:
        raise AudioError(
            f"{path} says its sampling rate is {rate} Hz; {_RATES.start} to {_RATES.stop - 1} Hz is "
            "plausible. Its header is damaged: write it again with the true rate."
        )


def require_samples(path: Path, block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The block, if it can be audio.

    Raises:
        AudioError: it has samples that are not finite, or integers in place of floats.
    """
    peak = float(np.max(np.abs(block), initial=0.0))
    if not np.isfinite(peak):
        raise AudioError(
            f"{path} has samples that are NaN or infinite. Expected finite ones. Write the file again."
        )
    if peak > _HIGHEST:
        raise AudioError(
            f"{path} has floating-point samples up to {peak:.0f}; full scale is 1. They look like integers "
            "written as floats: divide them by 32768 and write the file again."
        )
    return block


def gain_for(peak: float) -> float:
    """What brings floating-point samples with this peak to full scale: cutting them off would change their sound.

    1 for what fits, and for what is refused later.
    """
    return 1 / peak if 1 < peak <= _HIGHEST else 1.0


def noted_gain(peak: float, notes: dict[str, str]) -> float:
    """`gain_for` a peak, with a note of kind "level" unless it is 1."""
    gain = gain_for(peak)
    if gain != 1:
        notes["level"] = f"samples up to {peak:.1f} times full scale, where players clip; it was turned down"
    return gain
