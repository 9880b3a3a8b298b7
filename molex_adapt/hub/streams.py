"""Bytes on their way: read as they are sent, counted, and without a word of the client's own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

from molex_adapt.progress import Progress


class Source(io.BufferedIOBase):
    """A file to upload, opened only while it is read; tells how much of it went out.

    The client sends such objects over plain HTTP, which every Hub understands; files it would hand to Xet, without
    asking whether the Hub at HF_ENDPOINT has it.
    """

    def __init__(self, content: bytes | Path, progress: Progress) -> None:
        self._content, self._progress = content, progress
        self._size, self._at, self._sent = size_of(content), 0, 0
        self.counting = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if isinstance(self._content, bytes):
            data = self._content[self._at : end]
        else:
            with self._content.open("rb") as file:
                file.seek(self._at)
                data = file.read(max(0, end - self._at))
        self._at += len(data)
        if self.counting and self._at > self._sent:
            self._progress.advance(self._at - self._sent)
            self._sent = self._at
        return data


def counter(progress: Progress) -> Any:
    """What the client takes for its progress bar; a new one per file."""

    class Counter:
        def __init__(self, **_options: Any) -> None: ...

        def __enter__(self) -> Counter:
            return self

        def __exit__(self, *_error: object) -> None: ...

        def update(self, bytes_: float | None = 1) -> None:
            progress.advance(int(bytes_ or 0))

        def close(self) -> None: ...

    return Counter


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no warnings of the client's own: progress and errors are ours to tell."""
    import warnings

    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    level, shown = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if shown:
                enable_progress_bars()


def size_of(content: bytes | Path) -> int:
    """Bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size
