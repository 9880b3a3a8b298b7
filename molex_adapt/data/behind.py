"""What stands behind the end of a recording in its file: tags and padding, or another recording."""

from __future__ import annotations

import re
from pathlib import Path

from molex_adapt.errors import AudioError

FEW_BYTES = 1024
"""Less than this behind the last chunk is a tag or padding: 32 ms of 16 kHz in 16 bits."""
MARKS = (
    *(b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"riff", b".snd", b"fLaC", b"OggS"),
    *(b"ID3\3\0", b"ID3\4\0", b"\x1aE\xdf\xa3", b"#!AMR", b"ADIF"),
)
"""With which recordings in files begin. Compressed audio has one of them by chance once in 400 megabytes: they tell
something where they stand at a certain place, but not anywhere."""
BEGINNINGS = MARKS + tuple(bytes((0xFF, second)) for second in b"\xfa\xfb\xf2\xf3\xe2\xe3\xf1\xf9")
"""Also frames of MP3 and AAC, of which any bytes have the beginning at times."""
_HEADER = re.compile(
    rb"RIFF.{4}(?:WAVE|AVI )|RIFX.{4}WAVE|RF64\xff{4}WAVE|FORM.{4}AIF[CF]|caff\x00\x01|riff\x2e\x91\xcf\x11"
    rb"|\.snd\x00\x00|fLaC[\x00\x80]\x00\x00\x22|OggS\x00[\x00-\x07]|ID3[\x03\x04]\x00[\x00\x40\x80][\x00-\x7f]{4}"
    rb"|\x1aE\xdf\xa3[\x01\x80-\xff].{0,7}\x42|#!AMR|ADIF[\x00-\x3f]",
    re.DOTALL,
)
"""The same with as much of what must follow as makes it no chance."""
_EBML = (b"\x1aE\xdf\xa3", b"\x18S\x80g")
"""The elements of a Matroska file: its header, its segment."""
_EBML_SHORT = b"\xec\xbf"
"""And padding and checksums."""


def require_one_movie(path: Path) -> None:
    """Refuse an MP4 file behind which something else follows, which FFmpeg leaves out.

    Raises:
        AudioError: a second index, or bytes that belong to no box.
    """
    size = path.stat().st_size
    at, indices = 0, 0
    with path.open("rb") as file:
        if file.read(12)[4:8] not in (b"ftyp", b"moov", b"wide", b"mdat", b"skip", b"free"):
            return
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length == 0:  # to the end of the file
                break
            if length < 8 or not head[4:8].strip(b"\xa9").isalnum():
                if size - at > FEW_BYTES:
                    raise another(path, size - at)
                break
            indices += head[4:8] == b"moov"
            if indices > 1:
                raise another(path, size - at)
            at += length


def require_one_segment(path: Path) -> None:
    """Refuse a Matroska or WebM file behind which something of another kind follows; further segments are played.

    Raises:
        AudioError: bytes that belong to no element.
    """
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(12)
            if head[:4] not in _EBML and head[0] not in _EBML_SHORT:
                if at and size - at > FEW_BYTES:
                    raise another(path, size - at)
                return
            name = 4 if head[:4] in _EBML else 1
            width = 9 - head[name].bit_length()
            length = int.from_bytes(head[name : name + width], "big") & (1 << 7 * width) - 1
            if width > 8 or length == (1 << 7 * width) - 1:  # unknown: to the end of the file
                return
            at += name + width + length


def tags_begin(path: Path) -> int:
    """Where the tags at the end of an MP3 file begin, of APE and ID3v1; its size where there are none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 160))
        tail = file.read()
    end = size
    if tail[-128:-125] == b"TAG":
        end, tail = end - 128, tail[:-128]
    footer = tail[-32:]
    if footer[:8] == b"APETAGEX":
        with_header = 32 * bool(int.from_bytes(footer[20:24], "little") >> 31)
        end -= int.from_bytes(footer[12:16], "little") + with_header
    return max(0, end)


def require_end(path: Path, at: int) -> None:
    """Refuse a recording of another kind behind the last packet, which ends at `at`; tags may stand there.

    Of Ogg, `at` is where the last page begins.

    Raises:
        AudioError: there is one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(at)
        head = file.read(27)
        while head[:4] == b"OggS" and len(head) == 27:
            at += 27 + head[26] + sum(file.read(head[26]))
            file.seek(at)
            head = file.read(27)
        head += file.read(FEW_BYTES)
    if size - at > FEW_BYTES and (head.startswith(BEGINNINGS) or has_recording(head)):
        raise another(path, size - at)


def has_recording(data: bytes) -> bool:
    """Whether a recording in a file of its own begins anywhere in these bytes."""
    return _HEADER.search(data) is not None


def another(path: Path, count: int) -> AudioError:
    """The error for another recording of `count` bytes behind the end."""
    return AudioError(
        f"{path}: behind its end, something else follows ({count:,} bytes), which some programs play and others do "
        "not. Expected one recording a file. Split it, or write again what should be heard: ffmpeg -i IN OUT.flac"
    )
