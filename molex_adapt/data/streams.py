"""Containers and their streams of audio, opened and decoded by PyAV."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import Seconds
from molex_adapt.data.behind import MARKS
from molex_adapt.data.channels import Channels
from molex_adapt.data.opened import Opened, Source, damaged
from molex_adapt.errors import AudioError

if TYPE_CHECKING:
    import av

RAW_DEMUXERS: dict[str, tuple[str, dict[str, str]]] = {
    ".g722": ("g722", {}),
    ".gsm": ("gsm", {}),
    ".ulaw": ("mulaw", {"sample_rate": "8000"}),
    ".alaw": ("alaw", {"sample_rate": "8000"}),
}
"""Formats without a header, which go by suffix."""
# Play lists and the like could make FFmpeg fetch other files or addresses, so only plain containers may open.
_DEMUXERS = (
    "aac,ac3,aiff,alaw,amr,amrnb,amrwb,asf,au,caf,eac3,flac,g722,gsm,matroska,webm,"
    "mov,mp4,m4a,3gp,mp3,mulaw,ogg,wav,w64"
)
_BROKEN = 3
"""Frames of an MP3 file that may fail, 0.1 s: where files were joined, the tags between them look like some."""
_INDEXED = ("mov", "matroska", "asf")
_SKIPPED: Seconds = 0.5
"""Decoders leave out as much at the ends as encoders added there; more was put there to be passed over."""


def raw_demuxer(path: Path) -> tuple[str, dict[str, str]] | None:
    """Which demuxer, with which options, a file without a header needs, by its suffix; None for all others.

    A file that begins as a container is one, whatever it is called: players go by content, too.
    """
    found = RAW_DEMUXERS.get(path.suffix.lower())
    if found is None:
        return None
    with path.open("rb") as file:
        head = file.read(8)
    return None if head.startswith(MARKS) or head[4:] == b"ftyp" else found


@contextmanager
def open_container(
    path: Path, source: Source, options: dict[str, str] | None = None
) -> Iterator[av.container.InputContainer]:
    """The container in `source`, which messages call `path`.

    Raises:
        AudioError: PyAV is not there, or it cannot be opened or, while it is open, read.
    """
    try:
        import av
    except ImportError as error:
        raise AudioError(
            f"{path}: soundfile cannot read this format, and PyAV, which may, is not installed. Install it: pip "
            "install av"
        ) from error
    demuxer, raw = raw_demuxer(path) or (None, {})
    safe = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    if not isinstance(source, Path):
        source.seek(0)
    try:
        # Tags may be in any encoding, and they are not read here.
        with av.open(
            str(source) if isinstance(source, Path) else source,
            format=demuxer,
            options={**safe, **raw, **(options or {})},
            metadata_errors="replace",
        ) as container:
            yield cast("av.container.InputContainer", container)
    except av.FFmpegError as error:
        raise damaged(path, error.strerror or str(error)) from error


def container_is(container: av.container.InputContainer, *names: str) -> bool:
    """Whether a container's format begins with one of these names."""
    return container.format.name.startswith(names)


def stream_of(path: Path, container: av.container.InputContainer, track: int) -> av.AudioStream:
    """One of a container's streams of audio, counted from 0.

    Raises:
        AudioError: there is none, or nobody knows its codec.
    """
    if not container.streams.audio:
        raise AudioError(f"{path} holds no audio stream. Expected a recording. Name another file.")
    stream = container.streams.audio[track]
    if stream.codec_context is None:
        raise damaged(path, "its audio is in a codec that FFmpeg does not know")
    return stream


def stated_by(stream: av.AudioStream) -> Seconds:
    """How long a stream is by its container; 0 where that does not tell."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def opened_stream(
    path: Path,
    container: av.container.InputContainer,
    track: int,
    channels: Channels | None,
    gain: float = 1.0,
) -> Opened:
    """A stream as a recording: its channels are counted, and every sample multiplied by `gain`."""
    stream = stream_of(path, container, track)
    rate = stream.codec_context.sample_rate
    frames = round(stated_by(stream) * rate) if stream.duration is not None else None

    def read_from(first: int) -> Iterator[NDArray[np.float32]]:
        import av

        position, origin = _seek_before(container, stream, first / rate)
        held, found = 0.0, 0
        broken = _BROKEN if container_is(container, "mp3") else 0
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.InvalidDataError:
                if not broken:
                    raise
                broken -= 1
                continue
            held += packet_seconds(packet)
            for frame in decoded:
                if frame.sample_rate != rate:
                    raise damaged(path, f"its rate changes from {rate} to {frame.sample_rate} Hz on the way")
                if position is None:
                    position = round((_time(frame) - origin) * rate)
                planes = planes_of(frame)[:, max(0, first - position) :]
                position += frame.samples
                found += frame.samples
                if gain != 1:
                    planes = planes * gain
                if channels is not None:
                    channels.add(planes.T)
                yield planes.mean(axis=0).astype(np.float32)
        if not first and held - found / rate > _SKIPPED:
            raise damaged(path, f"{held - found / rate:.1f} s of it are marked as not to be played")

    return Opened(rate, frames, read_from)


def packet_seconds(packet: av.Packet[Any]) -> Seconds:
    """How long the samples of a packet are."""
    return float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0


def _seek_before(
    container: av.container.InputContainer, stream: av.AudioStream, target: float
) -> tuple[int | None, float]:
    """Jump to before `target` seconds where the container has an index.

    Returns:
        the position in frames, None if only the next frame's time tells it; and the time of the first frame.
    """
    # Near the beginning, decoding from the start costs less than a jump and is exact.
    if target < 5 or not container_is(container, *_INDEXED):
        return 0, 0.0
    first = next(container.decode(stream), None)
    origin = 0.0 if first is None else _time(first)
    # A second early: codecs with memory need some frames before their output is that of the whole recording.
    container.seek(int((origin + target - 1) * 1_000_000))
    return None, origin


def _time(frame: av.AudioFrame) -> float:
    return 0.0 if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def planes_of(frame: av.AudioFrame) -> NDArray[Any]:
    """(C, n) in [-1, 1]: the channels of a frame, integers scaled by their full range."""
    try:
        data: NDArray[Any] = frame.to_ndarray()
    except ValueError:
        import av

        raise av.FFmpegError(
            errno.ENOSYS, f"samples in the format {frame.format.name} are not read"
        ) from None
    if not frame.format.is_planar:
        data = data.reshape(frame.samples, -1).T
    if data.dtype == np.uint8:
        data = (data.astype(np.float32) - 128) / 128
    elif np.issubdtype(data.dtype, np.integer):
        # The negative end is full scale; float32 lacks digits.
        data = data / np.float64(-np.iinfo(data.dtype).min)
    return data
