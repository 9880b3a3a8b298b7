"""Any audio file as mono float blocks at its own rate: by soundfile, and by PyAV where soundfile cannot read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from molex_adapt.data.channels import Channels
from molex_adapt.data.chunks import whole
from molex_adapt.data.opened import LITTLE, Opened, Source, damaged, noted_gain, require_rate
from molex_adapt.data.packets import held_seconds, open_packets
from molex_adapt.data.streams import raw_demuxer
from molex_adapt.errors import AudioError

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd", ".caf"),
        *(".w64", ".rf64", ".sph", ".voc", ".g722", ".gsm", ".ulaw", ".alaw", ".amr", ".awb", ".aac"),
        *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".webm", ".mkv", ".mka", ".wma", ".ac3", ".eac3"),
    }
)
"""Files counted as audio where a folder is searched; a manifest may name any file."""

_BLOCK_SAMPLES = 1 << 20
_UNKNOWN_LENGTH = 1 << 46
_PACKED = ("FLAC", "OGG", "MP3")
"""Containers whose packets tell how long they are, whatever the header states."""
_MOST_ADDED = 3 * 1152
"""Samples that an MP3 encoder adds at both ends, and decoders leave out."""


@contextmanager
def open_audio(path: Path, channels: Channels | None = None) -> Iterator[Opened]:
    """Open `path` with the first library that can read it; `channels` counts what is read before it is averaged.

    Raises:
        AudioError: no regular file, not to be read, empty, headerless, without audio, or damaged; on opening or on
            reading.
    """
    _require_file(path)
    notes = {} if channels is None else channels.notes
    try:
        with whole(path, notes) as source:
            raw = raw_demuxer(path) is not None
            handle = None if raw else _open_soundfile(path, source, notes)
            if handle is None:
                with open_packets(path, source, channels, notes) as opened:
                    yield opened
                return
            with handle:
                require_rate(path, handle.samplerate)
                yield _from_soundfile(path, handle, channels, notes)
    except soundfile.SoundFileError as error:
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> AudioError:
    return AudioError(f"{str(path)!r} cannot be opened ({error}). Check the path and its permissions.")


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder, not a recording. Name an audio file.")
        if not path.is_file():
            known = "not a regular file" if path.exists() else "not found"
            raise AudioError(f"{path}: {known}. Expected an audio file. Check the path.")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if size == 0:
        raise AudioError(f"{path} is empty (0 bytes). Expected an audio file. Copy or download it again.")
    if path.suffix.lower() in (".raw", ".pcm"):
        raise AudioError(
            f"{path} is headerless: nothing says its rate and sample format. Give it a header, e.g. "
            "ffmpeg -f s16le -ar 16000 -i IN.raw OUT.wav"
        )


def _open_soundfile(path: Path, source: Source, notes: dict[str, str]) -> soundfile.SoundFile | None:
    try:
        handle = soundfile.SoundFile(source)
    # PyAV also opens names that are no valid text, and suffixes that soundfile takes for headerless data.
    except (soundfile.SoundFileError, UnicodeEncodeError, TypeError):
        return None
    except OSError as error:
        raise damaged(path, str(error)) from error
    if 0 <= handle.frames < _UNKNOWN_LENGTH:
        return handle
    # libsndfile stops after the first of several recordings in one Ogg file, and cannot read FLAC of unstated length.
    handle.close()
    notes["header"] = "its header does not state where it ends; it was heard to the end of the file"
    return None


def _from_soundfile(
    path: Path, handle: soundfile.SoundFile, channels: Channels | None, notes: dict[str, str]
) -> Opened:
    frames, gain = handle.frames, _gain(handle, notes)

    def read_from(first: int) -> Iterator[NDArray[np.float32]]:
        position = min(first, frames)
        if position and handle.seekable():
            handle.seek(position)
        elif position:
            _skip(handle, position)
        while position < frames and len(block := handle.read(_size(handle), dtype="float32", always_2d=True)):
            position += len(block)
            if gain != 1:
                block = block * np.float32(gain)
            if channels is not None:
                channels.add(block)
            yield block.mean(axis=1, dtype=np.float32)
        yield from _beyond(path, handle, max(first, position), channels, notes)

    return Opened(handle.samplerate, frames, read_from)


def _size(handle: soundfile.SoundFile) -> int:
    return max(1, _BLOCK_SAMPLES // int(handle.channels))


def _skip(handle: soundfile.SoundFile, frames: int) -> None:
    while frames > 0 and len(block := handle.read(min(frames, _size(handle)), always_2d=True)):
        frames -= len(block)


def _gain(handle: soundfile.SoundFile, notes: dict[str, str]) -> float:
    """What brings floating-point samples to full scale; 1 for all that are not stored as such."""
    if handle.subtype not in ("FLOAT", "DOUBLE"):
        return 1.0
    peak = 0.0
    while len(block := handle.read(_size(handle), dtype="float32", always_2d=True)):
        peak = max(peak, float(np.max(np.abs(block))))
    handle.seek(0)
    return noted_gain(peak, notes)


def _beyond(
    path: Path, handle: soundfile.SoundFile, position: int, channels: Channels | None, notes: dict[str, str]
) -> Iterator[NDArray[np.float32]]:
    """What follows after all that the header states, from the frame `position` on.

    Raises:
        AudioError: the file ends before that.
    """
    rate, missing = handle.samplerate, handle.frames - position
    tolerance = LITTLE * rate
    held = float(handle.frames)
    if handle.format in _PACKED:
        held = held_seconds(path) * rate
        tolerance = max(tolerance, _MOST_ADDED if handle.format == "MP3" else 0)
    # Without a table, the length of an MP3 file is an estimate.
    estimated = handle.format == "MP3" and not _has_table(path)
    # Encoders pad and round the length they state; a tenth of a second more than is there is no damage.
    if missing > LITTLE * rate and not (estimated and position >= held - tolerance):
        raise damaged(path, f"it breaks off {missing / rate:.1f} s before the end its header states")
    if held - max(position, handle.frames) <= tolerance:
        return
    with open_packets(path, path, channels, {}) as opened:
        yield from _resampled(opened.read_from(round(position * opened.rate / rate)), opened.rate, rate)
    stated = "lets expect" if estimated else "states"
    notes["header"] = (
        f"its header {stated} {handle.frames / rate:.1f} s, but it holds {held / rate:.1f} s; all of it was heard"
    )


def _resampled(
    blocks: Iterator[NDArray[np.float32]], rate: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """The same at another rate: FFmpeg decodes Opus at 48 kHz, libsndfile at the rate that was encoded."""
    if rate == wanted:
        yield from blocks
        return
    import soxr

    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _has_table(path: Path) -> bool:
    """Whether an MP3 file states its length, in the tag of Xing, LAME or Fraunhofer that its first frame holds."""
    with path.open("rb") as file:
        head = file.read(10)
        tag = 0
        if head[:3] == b"ID3":  # seven bits of each byte
            tag = 10 + sum(value << 7 * (3 - place) for place, value in enumerate(head[6:10]))
        file.seek(tag)
        first = file.read(1024)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))
