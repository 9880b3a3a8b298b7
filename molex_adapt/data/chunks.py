"""Files of uncompressed audio whose header states less than they hold: a data chunk, and what comes after it.

libsndfile and FFmpeg read as much as the header states. Programs that ignore it play on, and so is everything heard
here: a header that was never finished, samples beyond the stated end, a further data chunk, files that were joined.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from molex_adapt.data.behind import BEGINNINGS, FEW_BYTES, another
from molex_adapt.data.opened import Source, damaged
from molex_adapt.data.patched import Patched

_MOST_PADDING = 1 << 22
_LARGEST = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
_BELOW_LARGEST = 1 << 16
"""A program that cannot go back in its output states the largest length there is, less what it keeps for headers."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a family of containers writes its chunks: a name and a length, then the content."""

    first: int
    """Where the first chunk begins."""
    data: bytes
    """The name of the chunk with the samples."""
    length: str
    """`struct` format of a length."""
    name_bytes: int = 4
    inclusive: bool = False
    """Whether a length counts name and length too."""
    align: int = 2

    @property
    def header(self) -> int:
        return self.name_bytes + struct.calcsize(self.length)

    def chunk(self, file: BinaryIO, at: int) -> tuple[bytes, int] | None:
        """Name and length of the content at a position; None where too few bytes are left."""
        file.seek(at)
        head = file.read(self.header)
        if len(head) < self.header:
            return None
        (length,) = struct.unpack(self.length, head[self.name_bytes :])
        return head[: self.name_bytes], length - (self.header if self.inclusive else 0)

    def after(self, begin: int, length: int) -> int:
        """Where the next chunk begins."""
        return begin + -(-length // self.align) * self.align


_WAVE = _Form(12, b"data", "<I")
_W64 = _Form(40, b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", "<Q", 16, True, 8)
_FORMS = {
    b"RIFF": _WAVE,
    b"RF64": _WAVE,
    b"RIFX": _Form(12, b"data", ">I"),
    b"FORM": _Form(12, b"SSND", ">I"),
    b"caff": _Form(8, b"data", ">q", align=1),
    b"riff": _W64,
}


@dataclass(frozen=True, slots=True)
class _Samples:
    """Where a file has its samples."""

    length_at: int
    """Where their length stands."""
    layout: str
    """In which `struct` format."""
    begin: int
    stated: int
    """Their bytes by the header."""
    end: int | None
    """Where they end by the header, be it beyond the end of the file; None: it does not state that."""
    further: int
    """Bytes behind that which belong to no chunk."""


@contextmanager
def whole(path: Path, notes: dict[str, str]) -> Iterator[Source]:
    """The file, or one in its place whose header states all of it, with a note of kind "header" on what it stated.

    Raises:
        AudioError: it ends before its header says; or behind the samples, another recording follows that is not of
            the same form.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(64)
        form = _FORMS.get(head[:4])
        samples = _au(head, size) if form is None else _find(file, form, size)
        if samples is None:
            yield path
            return
        if samples.end is None or (samples.end > size and _is_unfinished(head, form)):
            notes["header"] = "its header does not state where it ends; it was heard to the end of the file"
        elif samples.end - size > FEW_BYTES:  # some programs round up what they state
            raise damaged(
                path, f"it breaks off {samples.end - size:,} bytes before the end its header states"
            )
        elif samples.further:
            _require_same(path, file, samples, size - samples.further)
            share = samples.further / (size - samples.begin)
            notes["header"] = f"its header leaves out {share:.0%} of what the file holds; all of it was heard"
        if samples.stated > 0 and not samples.further:
            yield path  # libsndfile reads what is there where a length is too large
        else:
            yield Patched(file, size, samples.length_at, _length(samples.layout, form, size - samples.begin))


def _au(head: bytes, size: int) -> _Samples | None:
    if head[:4] != b".snd" or len(head) < 24:
        return None
    begin, length = struct.unpack(">II", head[4:12])
    if not 24 <= begin <= size:
        return None
    end = begin + length
    if _is_unknown(length):
        return _Samples(8, ">I", begin, length, None, 0)
    return _Samples(8, ">I", begin, length, end, size - end if size - end > FEW_BYTES else 0)


def _find(file: BinaryIO, form: _Form, size: int) -> _Samples | None:
    """The first chunk of samples, and how much follows that is in no chunk of its own."""
    at, wide = form.first, None
    while at < size and (chunk := form.chunk(file, at)) is not None:
        name, length = chunk
        begin = at + form.header
        if name == b"ds64":  # lengths beyond 4 GB: of the file, then of the samples
            wide = begin + 8
        if name == form.data:
            place, layout = at + form.name_bytes, form.length
            if length == 0xFFFFFFFF and wide is not None:
                place, layout = wide, "<Q"
                file.seek(wide)
                length = int.from_bytes(file.read(8), "little")
            if _is_unknown(length):
                return _Samples(place, layout, begin, length, None, 0)
            end = begin + length
            return _Samples(place, layout, begin, length, end, _further(file, form, end, size))
        if length < 0:
            return None
        at = form.after(begin, length)
    return None


def _is_unfinished(head: bytes, form: _Form | None) -> bool:
    """Whether a header does not know how long the file is; that of RF64 is to be found elsewhere."""
    if form is None or head[:4] not in (b"RIFF", b"RIFX", b"FORM"):
        return False
    return _is_unknown(*struct.unpack(form.length, head[4:8]))


def _is_unknown(length: int) -> bool:
    """Whether a length is what stands there before the true one is known."""
    return length <= 0 or any(0 <= largest - length <= _BELOW_LARGEST for largest in _LARGEST)


def _further(file: BinaryIO, form: _Form, at: int, size: int) -> int:
    """Bytes from the first place behind the samples at which no chunk of another kind stands; 0 for a few or zeros."""
    at = form.after(0, at)
    while at + form.header <= size:
        chunk = form.chunk(file, at)
        if chunk is None:
            break
        name, length = chunk
        known = name[:4].isascii() and name[:4].decode("ascii", "replace").isprintable()
        following = form.after(at + form.header, max(0, length))
        ends = form.align == 2 and following == size + 1  # the last padding byte is often left out
        if not known or name == form.data or name[:4] in _FORMS or not (following <= size or ends):
            break
        at = following
    left = max(0, size - at)
    if left <= FEW_BYTES:
        return 0
    file.seek(at)
    return left if left > _MOST_PADDING or any(file.read(left)) else 0


def _length(layout: str, form: _Form | None, length: int) -> bytes:
    """The bytes of a length."""
    if form is not None and form.inclusive:
        length += form.header
    return struct.pack(layout, min(length, 0xFFFFFFFF) if layout[-1] == "I" else length)


def _require_same(path: Path, file: BinaryIO, samples: _Samples, at: int) -> None:
    """Refuse another recording behind the samples, unless its header is the same but for the lengths."""
    file.seek(at)
    head = file.read(samples.begin)
    if not head.startswith(BEGINNINGS):
        return
    file.seek(0)
    own = file.read(samples.begin)
    kept = slice(8, samples.length_at)
    if head[:4] != own[:4] or head[kept] != own[kept]:
        raise another(path, os.fstat(file.fileno()).st_size - at)
