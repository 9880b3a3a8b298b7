"""Digests of files, bytes, texts and arrays: sha256, in hexadecimal.

Those of weights, tables of recordings and sources stand in registries on disk: what goes into one never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 2**20


class Digest:
    """The sha256 of what was added, in order; where one part ends and the next begins makes no difference."""

    def __init__(self, *parts: bytes | str | NDArray[Any]) -> None:
        self._hash = hashlib.sha256()
        self.add(*parts)

    def add(self, *parts: bytes | str | NDArray[Any]) -> Self:
        """Take in further parts: a text as UTF-8, of an array its values and not its shape."""
        for part in parts:
            self._hash.update(_encoded(part))
        return self

    def __str__(self) -> str:
        return self._hash.hexdigest()


def sha256(*parts: bytes | str | NDArray[Any]) -> str:
    """64 hexadecimal digits; see `Digest`."""
    return str(Digest(*parts))


def sha256_of_file(path: Path, *before: str) -> str:
    """The same of a file's content, after some texts; reads it block by block.

    Raises:
        OSError: it cannot be read.
    """
    digest = Digest(*before)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.add(block)
    return str(digest)


def sha256_of_weights(weights: Iterable[tuple[str, NDArray[np.float32]]]) -> str:
    """The same of every weight's name, shape and values: independent of the file's format and precision.

    Args:
        weights: in the order of their names, float32; taken one by one, so that they need not all be in memory.
    """
    digest = Digest()
    for name, weight in weights:
        digest.add(f"{name}{weight.shape}", weight)
    return str(digest)


def git_blob(content: bytes) -> str:
    """Git's name for a file of that content, by which the Hub lists small files."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _encoded(part: bytes | str | NDArray[Any]) -> bytes:
    if isinstance(part, bytes):
        return part
    if not isinstance(part, str):
        return part.tobytes()
    try:
        return part.encode("utf-8", "surrogateescape")  # file names that are not UTF-8, as they stand on disk
    except UnicodeEncodeError:
        return part.encode("utf-8", "surrogatepass")
