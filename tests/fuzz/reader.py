"""What a reader is to the fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Reader:
    """Inputs, how one is put where it is read, and reading it."""

    inputs: st.SearchStrategy[Any]
    place: Callable[[Any], object]
    read: Callable[[Any], object]


def of_file(
    folder: Path, name: str, inputs: st.SearchStrategy[bytes], read_it: Callable[[Path], object]
) -> Reader:
    """A reader of one file of that name."""
    path = folder / name
    return Reader(inputs, path.write_bytes, lambda _: read_it(path))
