"""Decoding of any recording to the input of the models: 16 kHz, one channel, float32 in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.data.channels import Channels
from molex_adapt.data.containers import open_audio
from molex_adapt.data.opened import Opened, require_samples
from molex_adapt.errors import AudioError

LONGEST: Seconds = 2 * 3600.0
"""The longest stretch that `decode` puts into memory at once (460 MB)."""

_PREROLL = 800
"""Samples that are decoded before a stretch: more than the resampler's filter is long, so that the stretch equals the
same part of the whole recording."""


def decode(
    path: Path | str,
    *,
    start: Seconds = 0,
    duration: Seconds | None = None,
    channels: Channels | None = None,
) -> NDArray[np.float32]:
    """Decode one recording or a part of it. Where the container can seek, the rest is not read.

    Any rate is resampled, any number of channels averaged. Floating-point samples beyond full scale are turned down
    with the whole recording; what coding and resampling add beyond it is clipped. A stretch that reaches over the end
    is as long as the recording allows. What the file holds counts, whatever its header states. More than two hours are
    decoded in parts, by `start` and `duration`, or by `stream`.

    Args:
        path: an audio file that soundfile or PyAV reads; raw G.722 and GSM go by suffix.
        start: where the stretch begins.
        duration: how long it is; None reads to the end.
        channels: counts what each channel carries, before they are averaged and resampled.

    Returns:
        (T,) float32 in [-1, 1], mono, 16 kHz; T > 0.

    Raises:
        AudioError: unreadable, damaged, empty, not finite, nothing at `start`, or longer than two hours
            without a `duration`. The message names the file and what to do.

    Source: own; resampling by soxr (HQ).
    """
    pieces, total = [], 0
    for piece in _pieces(Path(path), start, duration, channels):
        pieces.append(piece)
        total += len(piece)
        if total > LONGEST * SAMPLE_RATE:
            raise AudioError(
                f"{path} is longer than {LONGEST / 3600:.0f} h. Expected a recording that fits into memory. "
                "Cut it into parts."
            )
    return np.concatenate(pieces)


def stream(
    path: Path | str,
    *,
    block: Seconds = 30.0,
    start: Seconds = 0,
    duration: Seconds | None = None,
    channels: Channels | None = None,
) -> Iterator[NDArray[np.float32]]:
    """The samples that `decode` returns, in consecutive blocks, in the memory of one block.

    Yields:
        (T,) float32 in [-1, 1], mono, 16 kHz: `block` seconds each, the last one shorter.

    Raises:
        AudioError: as `decode`, but no length is too long.
    """
    size = max(1, round(block * SAMPLE_RATE))
    held: list[NDArray[np.float32]] = []
    total = 0
    for piece in _pieces(Path(path), start, duration, channels):
        held.append(piece)
        total += len(piece)
        if total >= size:
            joined = np.concatenate(held)
            whole = total - total % size
            yield from np.split(joined[:whole], range(size, whole, size))
            held, total = [joined[whole:]], total - whole
    if total:
        yield np.concatenate(held)


def stated_seconds(path: Path | str) -> Seconds | None:
    """How long `path` is by its header, which may be wrong; None where only decoding can tell.

    Raises:
        AudioError: the file cannot be opened as audio.
    """
    with open_audio(Path(path)) as opened:
        return None if opened.frames is None else opened.frames / opened.rate


def _pieces(
    path: Path, start: Seconds, duration: Seconds | None, channels: Channels | None
) -> Iterator[NDArray[np.float32]]:
    """Finite, clipped 16 kHz pieces of the stretch, none of them empty; at least one."""
    if not (math.isfinite(start) and start >= 0) or not (duration is None or duration > 0):
        raise AudioError(f"{path}: start={start}, duration={duration}; expected start >= 0 and duration > 0.")
    first = round(start * SAMPLE_RATE)
    left = math.inf if duration is None else max(1, round(min(duration, 1e9) * SAMPLE_RATE))
    found = False
    with open_audio(path, channels) as opened:
        for piece in _at_16_khz(path, opened, first):
            piece = piece[: int(min(left, len(piece)))]
            left -= len(piece)
            if len(piece):
                found = True
                yield np.clip(piece, -1.0, 1.0)
            if left <= 0:
                break
    if not found:
        where = f"no samples at or after {start:g} s" if first else "no samples"
        raise AudioError(f"{path} has {where}. Expected speech there. Leave it out, or record it again.")


def _at_16_khz(path: Path, opened: Opened, first: int) -> Iterator[NDArray[np.float32]]:
    """Resampled pieces from output sample `first` on.

    Reading begins at an input frame that falls exactly on an output sample, a little before the stretch, so
    that a stretch has the samples that decoding the whole file would give it.
    """
    if opened.rate == SAMPLE_RATE:
        for block in opened.read_from(first):
            yield require_samples(path, block)
        return
    import soxr

    # With the rates in lowest terms, every SAMPLE_RATE / common output samples fall on an input frame exactly.
    common = math.gcd(opened.rate, SAMPLE_RATE)
    step = max(0, first - _PREROLL) // (SAMPLE_RATE // common)
    drop = first - step * (SAMPLE_RATE // common)
    resampler = soxr.ResampleStream(opened.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in _with_end(opened.read_from(step * (opened.rate // common))):
        piece = resampler.resample_chunk(require_samples(path, block), last=not len(block))
        yield piece[drop:]
        drop = max(0, drop - len(piece))


def _with_end(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The non-empty blocks, then one empty one that flushes the resampler."""
    yield from (block for block in blocks if len(block))
    yield np.zeros(0, np.float32)
