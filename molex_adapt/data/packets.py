"""Recordings in compressed containers, by PyAV: what soundfile cannot read, and how much the packets of a file hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molex_adapt.conventions import Seconds
from molex_adapt.data.behind import (
    FEW_BYTES,
    has_recording,
    require_end,
    require_one_movie,
    require_one_segment,
    tags_begin,
)
from molex_adapt.data.channels import Channels
from molex_adapt.data.opened import LITTLE, Opened, Source, damaged, noted_gain, require_rate
from molex_adapt.data.streams import (
    container_is,
    open_container,
    opened_stream,
    packet_seconds,
    planes_of,
    stated_by,
    stream_of,
)
from molex_adapt.digest import Digest
from molex_adapt.errors import AudioError

if TYPE_CHECKING:
    import av


_MOST_IN_PACKET = 1 << 16
"""Samples; no codec has larger frames. FFmpeg gives the last packet of a short Vorbis file a length of 2^32, so one
packet that claims more does not count; where there are several, something is wrong, and decoding has to tell."""


_DELAY = 3 * 1024
"""Samples, three frames of AAC; no encoder puts more before a recording, to be left out by an edit list."""


@contextmanager
def open_packets(
    path: Path, source: Source, channels: Channels | None, notes: dict[str, str]
) -> Iterator[Opened]:
    """Open `path`, read from `source`, by PyAV.

    Of several tracks, the one that is not silent is heard. What an edit list hides is heard too. Notes say so.

    Raises:
        AudioError: PyAV is not there; no audio, damage, several tracks of different sound, or something behind the end.
    """
    require_one_movie(path)
    require_one_segment(path)
    with open_container(path, source) as container:
        tracks, movie = len(container.streams.audio), container_is(container, "mov")
        exact = stream_of(path, container, 0).codec_context.name.startswith("pcm_f")
    track = _track(path, source, tracks, notes) if tracks > 1 else 0
    options = _unedited(path, source, track, notes) if movie else {}
    gain = _gain(path, source, track, notes) if exact else 1.0
    with open_container(path, source, options) as container:
        opened = opened_stream(path, container, track, channels, gain)
        require_rate(path, opened.rate)
        yield opened


def held_seconds(path: Path) -> Seconds:
    """How long all packets of the recording are, decoded or not; the file's header does not count.

    Raises:
        AudioError: as `open_packets`.
    """
    with open_container(path, path) as container:
        stream = stream_of(path, container, 0)
        if len(container.streams.audio) > 1:
            raise damaged(path, "it holds several recordings at once")
        total, last, strange = 0.0, None, False
        end = tags_begin(path) if container_is(container, "mp3") else path.stat().st_size
        for packet in container.demux(stream):
            if packet.pos is not None and packet.pos >= end:  # pictures in tags look like frames at times
                break
            seconds = packet_seconds(packet)
            if seconds * stream.codec_context.sample_rate > _MOST_IN_PACKET and not strange:
                strange, seconds = True, 0.0
            total += seconds
            last = packet if packet.size else last
        if last is not None and container_is(container, "flac"):
            _require_frame(path, stream, last)
        elif last is not None and last.pos is not None:
            require_end(path, last.pos if container_is(container, "ogg") else last.pos + last.size)
    return total


def _require_frame(path: Path, stream: av.AudioStream, packet: av.Packet[Any]) -> None:
    """Refuse more than a frame at the end of FLAC: the parser takes for its end what it does not understand.

    Raises:
        AudioError: it is longer than its samples would be without compression.
    """
    codec = stream.codec_context
    width = codec.format.bytes if codec.format else 4  # damage may leave no format
    most = packet_seconds(packet) * codec.sample_rate * codec.channels * width
    if packet.size > most + FEW_BYTES or has_recording(bytes(packet)):
        raise damaged(path, "behind its end, something else follows")


def _track(path: Path, source: Source, count: int, notes: dict[str, str]) -> int:
    """The only one of several tracks that has a sound; 0 if all are silent.

    Raises:
        AudioError: two of them sound different, so that what is heard depends on the player.
    """
    heard: dict[str, int] = {}
    for track in range(count):
        channels, digest = Channels(), Digest()
        with open_container(path, source) as container:
            for block in opened_stream(path, container, track, channels).read_from(0):
                digest.add(block)
        if not channels.silent:
            heard.setdefault(str(digest), track)
    if len(heard) > 1:
        raise AudioError(
            f"{path} holds {len(heard)} audio tracks of different sound, and which one is played depends on the "
            "player. Take each by itself: ffmpeg -i IN -map 0:a:0 OUT.flac, then -map 0:a:1"
        )
    track = next(iter(heard.values()), 0)
    notes["track"] = f"track {track + 1} of {count} was heard; the others are silent or the same"
    return track


def _unedited(path: Path, source: Source, track: int, notes: dict[str, str]) -> dict[str, str]:
    """Options with which an edit list is not obeyed, where it hides more than an encoder's delay."""
    free = {"ignore_editlist": "1"}
    with open_container(path, source) as container:
        stream = stream_of(path, container, track)
        edited, delay = stated_by(stream), _DELAY / stream.codec_context.sample_rate
    with open_container(path, source, free) as container:
        hidden = stated_by(stream_of(path, container, track)) - edited
    if hidden <= max(2 * LITTLE, delay):
        return {}
    notes["header"] = f"its edit list leaves out {hidden:.1f} s, which some players play; they were heard too"
    return free


def _gain(path: Path, source: Source, track: int, notes: dict[str, str]) -> float:
    """What brings floating-point samples to full scale."""
    with open_container(path, source) as container:
        stream = stream_of(path, container, track)
        peak = max((float(np.abs(planes_of(frame)).max()) for frame in container.decode(stream)), default=0.0)
    return noted_gain(peak, notes)
