"""Any audio file as mono float blocks at its own rate: by soundfile, and by PyAV where soundfile cannot read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from molex_adapt.data.channels import Channels
from molex_adapt.errors import AudioError

if TYPE_CHECKING:
    import av

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd", ".caf"),
        *(".w64", ".rf64", ".sph", ".voc", ".g722", ".gsm", ".ulaw", ".alaw", ".amr", ".awb", ".aac"),
        *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".webm", ".mkv", ".mka", ".wma", ".ac3", ".eac3"),
    }
)
"""Files counted as audio where a folder is searched; a manifest may name any file."""

_RAW_DEMUXERS: dict[str, tuple[str, dict[str, str]]] = {
    ".g722": ("g722", {}),
    ".gsm": ("gsm", {}),
    ".ulaw": ("mulaw", {"sample_rate": "8000"}),
    ".alaw": ("alaw", {"sample_rate": "8000"}),
}
# Play lists and the like could make FFmpeg fetch other files or addresses, so only plain containers may open.
_DEMUXERS = (
    "aac,ac3,aiff,alaw,amr,amrnb,amrwb,asf,au,caf,eac3,flac,g722,gsm,matroska,webm,"
    "mov,mp4,m4a,3gp,mp3,mulaw,ogg,wav,w64"
)
_INDEXED = ("mov", "matroska", "asf")
_BLOCK_SAMPLES = 1 << 20
_UNKNOWN_LENGTH = 1 << 46
_RATES = range(4_000, 768_001)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open recording: its rate in hertz, its length in frames where the header tells, and its samples."""

    rate: int
    frames: int | None
    read_from: Callable[[int], Iterator[NDArray[np.float32]]]
    """Mono blocks (n,) from the given frame on. Memory is that of one block, even if the header is wrong."""


@contextmanager
def open_audio(path: Path, channels: Channels | None = None) -> Iterator[Opened]:
    """Open `path` with the first library that can read it; `channels` counts what is read before it is averaged.

    Raises:
        AudioError: no regular file, empty, headerless, without audio, or damaged; on opening or on reading.
    """
    _require_file(path)
    handle = None if path.suffix.lower() in _RAW_DEMUXERS else _open_soundfile(path)
    if handle is None:
        with _open_av(path, channels) as opened:
            yield opened
        return
    with handle:
        try:
            yield _checked(path, _from_soundfile(path, handle, channels))
        except soundfile.SoundFileError as error:
            raise damaged(path, str(error)) from error


def damaged(path: Path, why: str) -> AudioError:
    """The error for a file that ends too early or does not decode."""
    return AudioError(
        f"{path} cannot be decoded ({why.strip().rstrip('.')}). Expected a whole audio file that soundfile or FFmpeg "
        "reads (WAV, FLAC, OGG, MP3, G.722, AMR, AAC, ...). Copy or download it again, or convert it: ffmpeg -i IN "
        "OUT.flac"
    )


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder, not a recording. Name an audio file.")
        if not path.is_file():
            known = "not a regular file" if path.exists() else "not found"
            raise AudioError(f"{path}: {known}. Expected an audio file. Check the path.")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{str(path)!r} cannot be opened ({error}). Check the path and its permissions."
        ) from error
    if size == 0:
        raise AudioError(f"{path} is empty (0 bytes). Expected an audio file. Copy or download it again.")
    if path.suffix.lower() in (".raw", ".pcm"):
        raise AudioError(
            f"{path} is headerless: nothing says its rate and sample format. Give it a header, e.g. "
            "ffmpeg -f s16le -ar 16000 -i IN.raw OUT.wav"
        )


def _checked(path: Path, opened: Opened) -> Opened:
    if opened.rate not in _RATES:
        raise AudioError(
            f"{path} says its sampling rate is {opened.rate} Hz; {_RATES.start} to {_RATES.stop - 1} Hz is "
            "plausible. Its header is damaged: write it again with the true rate."
        )
    return opened


def _open_soundfile(path: Path) -> soundfile.SoundFile | None:
    try:
        return soundfile.SoundFile(path)
    # PyAV also opens names that are no valid text, and suffixes that soundfile takes for headerless data.
    except (soundfile.SoundFileError, UnicodeEncodeError, TypeError):
        return None
    except OSError as error:
        raise damaged(path, str(error)) from error


def _from_soundfile(path: Path, handle: soundfile.SoundFile, channels: Channels | None) -> Opened:
    frames = handle.frames if 0 <= handle.frames < _UNKNOWN_LENGTH else None

    def read_from(first: int) -> Iterator[NDArray[np.float32]]:
        if frames is not None and first >= frames:
            return
        left = frames
        if first and handle.seekable():
            handle.seek(first)
            left, first = None if left is None else left - first, 0
        size = max(1, _BLOCK_SAMPLES // handle.channels)
        while len(block := handle.read(size, dtype="float32", always_2d=True)):
            left = None if left is None else left - len(block)
            skipped = min(first, len(block))
            first -= skipped
            if channels is not None:
                channels.add(block[skipped:])
            yield block[skipped:].mean(axis=1, dtype=np.float32)
        # Encoders pad and round the length they state; a tenth of a second more than is there is no damage.
        if left is not None and left > handle.samplerate // 10:
            raise damaged(
                path, f"it breaks off {left / handle.samplerate:.1f} s before the end its header states"
            )

    return Opened(handle.samplerate, frames, read_from)


@contextmanager
def _open_av(path: Path, channels: Channels | None) -> Iterator[Opened]:
    try:
        import av
    except ImportError as error:
        raise AudioError(
            f"{path}: soundfile cannot read this format, and PyAV, which may, is not installed. Install it: pip "
            "install av"
        ) from error
    demuxer, options = _RAW_DEMUXERS.get(path.suffix.lower(), (None, {}))
    safe = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        # Tags may be in any encoding, and they are not read here.
        with av.open(
            str(path), format=demuxer, options={**safe, **options}, metadata_errors="replace"
        ) as container:
            yield _checked(path, _from_av(path, container, channels))
    except av.FFmpegError as error:
        raise damaged(path, error.strerror or str(error)) from error


def _from_av(path: Path, container: av.container.InputContainer, channels: Channels | None) -> Opened:
    if not container.streams.audio:
        raise AudioError(f"{path} holds no audio stream. Expected a recording. Name another file.")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise damaged(path, "its audio is in a codec that FFmpeg does not know")
    rate = stream.codec_context.sample_rate
    frames: int | None = None
    if stream.duration is not None and stream.time_base is not None:
        frames = round(stream.duration * stream.time_base * rate)

    def read_from(first: int) -> Iterator[NDArray[np.float32]]:
        position, origin = _seek_before(container, stream, first / rate)
        for frame in container.decode(stream):
            if frame.sample_rate != rate:
                raise damaged(path, f"its rate changes from {rate} to {frame.sample_rate} Hz on the way")
            if position is None:
                position = round((_time(frame) - origin) * rate)
            planes = _planes(frame)[:, max(0, first - position) :]
            position += frame.samples
            if channels is not None:
                channels.add(planes.T)
            yield planes.mean(axis=0).astype(np.float32)

    return Opened(rate, frames, read_from)


def _seek_before(
    container: av.container.InputContainer, stream: av.AudioStream, target: float
) -> tuple[int | None, float]:
    """Jump to before `target` seconds where the container has an index.

    Returns:
        the position in frames, None if only the next frame's time tells it; and the time of the first frame.
    """
    # Near the beginning, decoding from the start costs less than a jump and is exact.
    if target < 5 or not container.format.name.startswith(_INDEXED):
        return 0, 0.0
    first = next(container.decode(stream), None)
    origin = 0.0 if first is None else _time(first)
    # A second early: codecs with memory need some frames before their output is that of the whole recording.
    container.seek(int((origin + target - 1) * 1_000_000))
    return None, origin


def _time(frame: av.AudioFrame) -> float:
    return 0.0 if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def _planes(frame: av.AudioFrame) -> NDArray[Any]:
    """(C, n) in [-1, 1]: the channels of a frame, integers scaled by their full range."""
    data: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(frame.samples, -1).T
    if data.dtype == np.uint8:
        data = (data.astype(np.float32) - 128) / 128
    elif np.issubdtype(data.dtype, np.integer):
        # The negative end is full scale; float32 lacks digits.
        data = data / np.float64(-np.iinfo(data.dtype).min)
    return data
