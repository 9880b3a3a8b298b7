"""Score and key files in the format of the ASVspoof 5 evaluation (track 1), and of the Speech Anti-Spoofing Arena.

ASVspoof 5: tab-separated text with a header line. Scores: `filename`, `cm-score`. Key: `filename`, `cm-label` and any
further columns, such as `attack` and `condition`, for a breakdown. The Arena, and ASVspoof 2021 too, take a line
`name score` each, with a blank between and no header. Higher scores mean more bona fide.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.atomic import write_output
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data.formats import read_text
from molex_adapt.data.labels import label_fault, label_of
from molex_adapt.data.naming import meet
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_file
from molex_adapt.text import shown, whole

FILENAME = "filename"
SCORE = "cm-score"
LABEL = "cm-label"

Form: TypeAlias = Literal["asvspoof5", "arena"]
"""Of a score file: with a header and tabs, or lines of name and score alone."""

_SAMPLES = 3
_HEADER_BYTES = 100
_NO_LINE = {  # what one field of one line in UTF-8 cannot hold, in Python's notation
    code: ascii(chr(code)).strip("'")
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
}


@dataclass(frozen=True, slots=True)
class Scores:
    """One score per file: `filenames` (n,) and `values` (n,) float64, in the file's order."""

    filenames: tuple[str, ...]
    values: NDArray[np.float64]
    origin: str = "scores"


@dataclass(frozen=True, slots=True)
class Key:
    """The truth per file: `is_bona_fide` (n,) booleans and further columns, each (n,), in file order."""

    filenames: tuple[str, ...]
    is_bona_fide: NDArray[np.bool_]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origin: str = "key"


@dataclass(frozen=True, slots=True)
class Joined:
    """Scores beside their truth, in the order of the scores; all (n,)."""

    filenames: tuple[str, ...]
    scores: NDArray[np.float64]
    is_bona_fide: NDArray[np.bool_]
    columns: dict[str, tuple[str, ...]]
    remarks: tuple[str, ...] = ()


def read_scores(path: Path | str) -> Scores:
    """Read a score file in either form; columns other than `filename` and `cm-score` are ignored.

    Raises:
        DataError: file missing, not text or empty; header without a column; wrong delimiter; a row of another
            width; a file named twice; a score that is no finite number (with its line).
    """
    if _is_line(read_text(Path(path)).partition("\n")[0]):
        return _read_lines(Path(path))
    rows = _Rows(Path(path), SCORE)
    names, values = [], []
    for line, row in rows.named():
        names.append(row[FILENAME])
        values.append(_number(row[SCORE], rows.path, line))
    return Scores(tuple(names), np.array(values), str(path))


def read_key(path: Path | str) -> Key:
    """Read a key file; every column beyond `filename` and `cm-label` is kept as text.

    Raises:
        DataError: as `read_scores`; also a label that names neither class (with its line and the
            nearest word that does).
    """
    rows = _Rows(Path(path), LABEL)
    further = [name for name in rows.header if name not in (FILENAME, LABEL)]
    names, labels = [], []
    columns: dict[str, list[str]] = {name: [] for name in further}
    for line, row in rows.named():
        names.append(row[FILENAME])
        labels.append(_is_bona_fide(row[LABEL], rows.path, line))
        for name in further:
            columns[name].append(row[name])
    kept = {name: tuple(values) for name, values in columns.items()}
    return Key(tuple(names), np.array(labels, dtype=bool), kept, str(path))


def write_scores(
    path: Path | str, filenames: Sequence[str], scores: ArrayLike, form: Form = "asvspoof5"
) -> None:
    """Write a score file that reads back to the same floats; an existing one is replaced whole or not at all.

    Args:
        path: where to; its folder must exist. Nothing but a score file is replaced.
        filenames: (n,) unique names that a line can hold; see `line_name`. Lines of the Arena hold none with blanks.
        scores: (n,) finite scores.
        form: of the file.

    Raises:
        DataError: lengths differ, a name cannot be written or comes twice, a score is not finite, another file
            stands there, or the file cannot be written.
    """
    values = np.asarray(scores, dtype=np.float64)
    _check_writable(Path(path), filenames, values)
    blank = next((name for name in filenames if name.split() != [name]), None)
    if form == "arena" and blank is not None:
        raise DataError(
            f"{path}: {blank!r} has a blank in it. Expected names without, for lines of name and score. Name the "
            "recordings as their data set does (score --key), or rename them."
        )
    check_file(path, SCORE_LINES if form == "arena" else SCORE_FILE)
    gap = " " if form == "arena" else "\t"
    lines = [] if form == "arena" else [f"{FILENAME}{gap}{SCORE}"]
    lines += [f"{name}{gap}{float(value)!r}" for name, value in zip(filenames, values, strict=True)]
    try:
        write_output(Path(path), "\n".join(lines) + "\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error}). Expected a writable place. Choose one."
        ) from error


def line_name(name: str) -> str:
    r"""A file's name as a score file can hold it.

    Tabs, line breaks, outer spaces and bytes that are not UTF-8 are put in Python's notation, such as `\t` and
    `\udcff`; any other name stays as it is.
    """
    name = whole(name)
    inner = name.strip()
    start = name.index(inner)
    outer = (name[:start], name[start + len(inner) :])
    before, after = ("".join(f"\\u{ord(space):04x}" for space in spaces) for spaces in outer)
    return f"{before}{inner.translate(_NO_LINE)}{after}"


def join(scores: Scores, key: Key) -> Joined:
    """Bring scores and key together by file name, in the order of the scores.

    Where names differ by folders, a suffix of audio or their Unicode form, they meet by what is left, provided that it
    tells all of them apart; a remark says so.

    Raises:
        DataError: a file has a score but no key or a key but no score (how many, and examples).
    """
    places = meet(scores.filenames, key.filenames)
    met = set(places)
    without_key = [name for name, at in zip(scores.filenames, places, strict=True) if at is None]
    without_score = [name for at, name in enumerate(key.filenames) if at not in met]
    if without_key or without_score:
        raise DataError(
            f"{scores.origin} and {key.origin} do not fit: {_count(without_key)} scored but not in the key, "
            f"{_count(without_score)} in the key but not scored. Expected the same file names in both, or stems that "
            "tell them apart. Check them, or score the rest."
        )
    order = np.array(places, dtype=np.intp)
    columns = {name: tuple(column[at] for at in order) for name, column in key.columns.items()}
    other = [name for name, at in zip(scores.filenames, order, strict=True) if name != key.filenames[at]]
    remarks: tuple[str, ...] = ()
    if other:
        mate = key.filenames[order[scores.filenames.index(other[0])]]
        remarks = (f"names that meet without folders and suffix: {len(other)} ({other[0]} and {mate})",)
    return Joined(scores.filenames, scores.values, key.is_bona_fide[order], columns, remarks)


def _is_score_file(path: Path) -> bool:
    """Whether the first line is the header that `write_scores` writes: a key, or a table with more in it, is none."""
    with path.open("rb") as file:
        first = file.readline(_HEADER_BYTES)
    return [name.strip() for name in first.decode("utf-8-sig", "replace").split("\t")] == [FILENAME, SCORE]


def _is_lines_file(path: Path) -> bool:
    """Whether every line is a name and a score as we write it: labels and counts are whole numbers."""
    with path.open("rb") as file:
        return all(_is_own_line(line.decode("utf-8", "replace")) for line in file)


def _is_own_line(line: str) -> bool:
    return _is_line(line) and not line.split()[1].lstrip("+-").isdigit()


SCORE_FILE = Kind("a score file", _is_score_file)
"""What `write_scores` may replace."""
SCORE_LINES = Kind("a score file of the Arena", _is_lines_file)
"""What it may replace in the form of the Arena."""


class _Rows:
    """The checked lines of one file: header at once, rows on demand."""

    def __init__(self, path: Path, wanted: str) -> None:
        self.path = path
        self._lines = read_text(path).split("\n")
        first = self._lines[0]
        self.header = [name.strip() for name in first.split("\t")]
        self._check_header(first, (FILENAME, wanted))

    def named(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (line number, column name -> value) of every row that is not blank."""
        seen: dict[str, int] = {}
        for line, text in enumerate(self._lines[1:], start=2):
            if not text.strip():
                continue
            cells = [cell.strip() for cell in text.split("\t")]
            if len(cells) != len(self.header):
                raise DataError(
                    f"{self.path}, line {line}: {len(cells)} columns ({shown(text, 60)}). Expected "
                    f"{len(self.header)}, separated by tabs, as in the header. Mend the line."
                )
            row = dict(zip(self.header, cells, strict=True))
            before = seen.setdefault(row[FILENAME], line)
            if not row[FILENAME] or before != line:
                fault = f"{row[FILENAME]!r} again, as in line {before}" if row[FILENAME] else "no file name"
                raise DataError(
                    f"{self.path}, line {line}: {fault}. Expected every file once. Remove one of the lines."
                )
            yield line, row
        if not seen:
            raise DataError(f"{self.path} has a header but no rows. Expected one row per file. Redo it.")

    def _check_header(self, first: str, wanted: tuple[str, str]) -> None:
        missing = [name for name in wanted if name not in self.header]
        twice = sorted({name for name in self.header if self.header.count(name) > 1})
        if not missing and not twice:
            return
        expected = f"Expected a first line with {wanted[0]!r} and {wanted[1]!r}, separated by a tab."
        if twice:
            raise DataError(f"{self.path}: column {twice[0]!r} comes twice. {expected} Rename one.")
        other = next((mark for mark in (",", ";", " ") if len(first.strip().split(mark)) > 1), None)
        if len(self.header) == 1 and other is not None:
            raise DataError(
                f"{self.path} is separated by {other!r}: its first line is {shown(first)}. {expected} "
                "Convert the file, and add the header if it has none."
            )
        near = difflib.get_close_matches(missing[0], self.header, n=1)
        hint = f"Rename column {near[0]!r}." if near else "Add the header line or the column."
        raise DataError(
            f"{self.path} has no column {missing[0]!r}: its first line is {shown(first)}. {expected} {hint}"
        )


def _is_line(text: str) -> bool:
    """Whether this is a name and a number with blanks between, and no header.

    The number may be nan: what is wrong with it is said by `_read_lines`.
    """
    fields = text.split()
    if len(fields) != 2 or "\t" in text or fields[0].endswith(":"):
        return False
    try:
        float(fields[1])
    except ValueError:
        return False
    return True


def _read_lines(path: Path) -> Scores:
    """Lines of name and score."""
    found: dict[str, float] = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[0] in found:
            fault = f"{fields[0]!r} again" if len(fields) == 2 else shown(text, 60)
            raise DataError(
                f"{path}, line {line}: {fault}. Expected a name and a score, and every file once. Mend the line."
            )
        found[fields[0]] = _number(fields[1], path, line)
    return Scores(tuple(found), np.array(list(found.values())), str(path))


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = math.nan if "_" in text else float(text)  # Python reads 1_5 as 15
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, line {line}: score {text!r}. Expected a finite number. Find out why that file's score "
            "failed and score it again; leave it out of scores and key, or mend it, but do not invent one."
        )
    return value


def _is_bona_fide(text: str, path: Path, line: int) -> bool:
    label = label_of(text)
    if label is None:
        raise DataError(f"{path}, line {line}: {label_fault(text)}. Mend the key.")
    return label == BONA_FIDE


def _count(names: Sequence[str]) -> str:
    if not names:
        return "0"
    shown = ", ".join(repr(name) for name in names[:_SAMPLES])
    return f"{len(names)} ({shown}{', ...' if len(names) > _SAMPLES else ''})"


def _check_writable(path: Path, filenames: Sequence[str], values: NDArray[np.float64]) -> None:
    if values.shape != (len(filenames),):
        raise DataError(
            f"{path}: {len(filenames)} file names for scores of shape {values.shape}. Expected one score per "
            "name. Nothing was written."
        )
    seen: set[str] = set()
    for name, value in zip(filenames, values, strict=True):
        if not name or line_name(name) != name:
            fault = "cannot be a file name here. Expected one line of UTF-8 without tabs or outer spaces"
        elif name in seen:
            fault = "comes twice. Expected every file once"
        elif not math.isfinite(value):
            fault = f"has score {value}. Expected a finite number"
        else:
            seen.add(name)
            continue
        raise DataError(f"{path}: {name!r} {fault}. Nothing was written; mend the list and write it again.")
