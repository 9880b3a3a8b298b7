"""Where a result may be written: looked at before the work begins, by what stands there and not by its name.

A file gives way to one of its own kind alone, a folder to what the same command made before. Whoever works for an
hour calls `check_file` or `check_folder` first; whoever writes calls it again, because the hour has passed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from molex_adapt.atomic import PREFIX
from molex_adapt.errors import DataError
from molex_adapt.text import shown

_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
_SHOWN_NAMES = 3
_HEAD_BYTES = 64
_MAGICS = {
    b"RIFF": "a WAV recording",
    b"RF64": "a WAV recording",
    b"fLaC": "a FLAC recording",
    b"OggS": "an Ogg recording",
    b"ID3": "an MP3 recording",
    b"\xff\xfb": "an MP3 recording",
    b"FORM": "an AIFF recording",
    b"#!AMR": "an AMR recording",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
    b"PAR1": "a Parquet file",
    b"PK": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG picture",
    b"\x7fELF": "a program",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, or of folder, that may replace its like."""

    name: str
    """With its article: "a score file"."""
    recognises: Callable[[Path], bool]
    """Whether the file, or the folder that is not empty, is of this kind; judged by content."""


def check_file(path: Path | str, kind: Kind, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place where a file of this kind cannot, or must not, be written.

    Free, an empty file, a file of the same kind, a pipe and a terminal are fine. Nothing is changed.

    Args:
        path: where the file is to go; links are followed.
        kind: what will be written.
        inputs: files that the work reads; none of them is ever an output.

    Raises:
        DataError: another file stands there (which, and what it is), a folder does or is missing, the name has a tab
            or a line break, or there is no right to write.
    """
    path = Path(path)
    _check_name(path)
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise DataError(
            f"{path} is a folder; {kind.name} is a file. Name a file in it, such as {path / 'out'}."
        )
    if mode is not None and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return
    if mode is not None:
        _check_replaced(path, mode, kind, inputs)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DataError(
            f"{path} cannot be written: {target.parent} is no folder. Choose another place, or make it first."
        )
    _check_right(path, target.parent, target.suffix)


def check_folder(path: Path | str, kind: Kind, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder that results of this kind cannot, or must not, be written to.

    A new folder, an empty one and one of the same kind are fine. Nothing is changed.

    Args:
        path: the folder; missing ones above it will be made.
        kind: what will be written.
        inputs: files and folders that the work reads; none may lie in the folder, nor the folder in one of them: what
            is written would be read, now or the next time.

    Raises:
        DataError: it is a file, holds something else, overlaps with an input, has a tab or a line break in its name,
            or there is no right to write.
    """
    path = Path(path)
    mode = _mode(path)
    for part in (path, *path.parents):  # those above are made, too
        if part == path or _mode(part) is None:
            _check_name(part)
    if mode is not None and not stat.S_ISDIR(mode):
        raise DataError(f"{path} is a file; expected {kind.name}, or none yet. Choose another name.")
    for item in inputs:
        _check_apart(path, item)
    there = next(parent for parent in (path, *path.absolute().parents) if _mode(parent) is not None)
    if not there.is_dir():
        raise DataError(f"{path} cannot be made: {there} is a file. Choose another place.")
    _check_right(path, there)
    names = sorted(held_names(path)) if mode is not None else []
    if names and not kind.recognises(path):
        found = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
        raise DataError(
            f"{path} is not empty (it holds {found}) and is not {kind.name}. Expected a new or empty folder; choose "
            "another."
        )


def held_names(folder: Path) -> set[str]:
    """The names in a folder, but for what another run writes there just now, or left there when it was killed."""
    return {item.name for item in folder.iterdir() if not item.name.startswith(PREFIX)}


def describe(path: Path) -> str:
    """What a file is, in a few words, by its first bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return f"{name} of {size:,} bytes"
    if head[4:8] == b"ftyp":
        return f"an MP4 file of {size:,} bytes"
    text = head.decode("utf-8", errors="ignore")
    if text and not _CONTROLS - set("\t\r\n") & set(text):
        return f"a text of {size:,} bytes that begins {shown(text.splitlines()[0], 40)}"
    return f"a file of {size:,} bytes"


def _check_name(path: Path) -> None:
    if _CONTROLS & set(path.name) or "\0" in str(path):
        raise DataError(
            f"the output {str(path)!r} has a control character in its name, such as a tab or a line break. Choose a "
            "name that can be read."
        )


def _mode(path: Path) -> int | None:
    """The type of what a path leads to; None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error


def _check_replaced(path: Path, mode: int, kind: Kind, inputs: Iterable[Path]) -> None:
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is a device or socket; {kind.name} is a file. Choose another place.")
    if any(_same(path, item) for item in inputs):
        raise DataError(f"{path} is to be read and written at once. Name another file for the result.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise DataError(
            f"{path} is there already and may not be replaced: no permission. Choose another place."
        )
    if path.stat().st_size and not kind.recognises(path):
        raise DataError(
            f"{path} is there already and is {describe(path)}, not {kind.name}; it stays as it is. Name another file, "
            "or move that one away."
        )


def _check_apart(path: Path, item: Path) -> None:
    out, read = Path(os.path.realpath(path)), Path(os.path.realpath(item))
    if out.is_relative_to(read) or read.is_relative_to(out):
        where = "is the same as" if out == read else "lies in" if out.is_relative_to(read) else "holds"
        raise DataError(f"{path} {where} {item}, which is read. Choose a folder apart from what is read.")


def _check_right(path: Path, folder: Path, suffix: str = "") -> None:
    """Write and delete an empty file: neither rights, nor the file system, nor a name's length can be asked for."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX, suffix=suffix):
            pass
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}). Expected a place you may write to; choose another, or "
            "change its rights."
        ) from error


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False
