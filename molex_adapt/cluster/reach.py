"""Recordings of a manifest where a worker can open them: on a disk that all share, or fetched from an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from molex_adapt.data import Failed, Table
from molex_adapt.data.manifest import read_listed, read_manifest
from molex_adapt.errors import DataError


def is_address(root: str | None) -> bool:
    """Whether a root is an address such as s3://BUCKET/PREFIX, and no folder."""
    return root is not None and "://" in root


def read_for_workers(manifest: Path, root: str | None) -> Table:
    """The rows of a manifest with absolute paths; below an address, with those that are written there.

    Raises:
        DataError: as `read_manifest`; or a path is absolute and cannot begin at an address.
    """
    if root is None or not is_address(root):
        table = read_manifest(manifest, audio_root=root)
        return table.with_utterances(tuple(replace(item, path=item.path.absolute()) for item in table))
    utterances = tuple(read_listed(manifest))
    for item in utterances:
        if item.path.is_absolute() or ".." in item.path.parts:
            raise DataError(
                f"{manifest}: {item.path} does not lie below {root}. Expected relative paths. Write them so, or leave "
                "out --audio-root."
            )
    return Table(utterances, str(manifest))


@contextmanager
def within_reach(paths: Sequence[str], root: str | None) -> Iterator[tuple[dict[str, Path], list[Failed]]]:
    """Local files of some recordings by their names, and what could not be fetched; copies last as long as the block.

    Raises:
        DataError: there is no such store.
    """
    if root is None or not is_address(root):
        yield {path: Path(path) for path in paths}, []
        return
    store, base = _store(root)
    with tempfile.TemporaryDirectory(prefix="molex-") as folder:
        there: dict[str, Path] = {}
        failed: list[Failed] = []
        for number, path in enumerate(paths):
            copy = Path(folder) / f"{number}{Path(path).suffix}"
            try:
                with store.open_input_stream(f"{base}/{path}") as stream:
                    copy.write_bytes(stream.read())
                there[path] = copy
            except OSError as error:
                failed.append(Failed(path, f"cannot be fetched from {root}: {error}"))
        yield there, failed


def named(item: Failed, there: dict[str, Path]) -> Failed:
    """A failure under the recording's own name, where it was that of a copy."""
    for path, copy in there.items():
        if item.path == str(copy):
            return replace(item, path=path, reason=item.reason.replace(str(copy), path))
    return item


def _store(root: str) -> tuple[Any, str]:
    import pyarrow
    from pyarrow import fs

    try:
        store, base = fs.FileSystem.from_uri(root)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{root} is no address of a store that pyarrow knows ({error}). Expected one such as s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX or file:///DIR. Mend --audio-root."
        ) from error
    return store, base.rstrip("/")
