"""A file in which a few bytes read differently, such as a length that its header states wrongly."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO


class Patched(io.RawIOBase):
    """A file in which a few bytes read differently."""

    def __init__(self, file: BinaryIO, size: int, at: int, instead: bytes) -> None:
        self._file = file
        self._size = size
        self._at = at
        self._instead = instead
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._position)
        content = bytearray(self._file.read(len(view)))
        low = max(self._at, self._position)
        high = min(self._at + len(self._instead), self._position + len(content))
        if low < high:
            content[low - self._position : high - self._position] = self._instead[
                low - self._at : high - self._at
            ]
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
