"""One row of a manifest as an utterance. Each fault is a `RowError`, which the reader collects."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label, Seconds, Split
from molex_adapt.data.folder import UNNAMED_ATTACK, origin_of
from molex_adapt.data.formats import cell
from molex_adapt.data.labels import SPLIT_WORDS, label_fault, label_of, nearest_split, split_of
from molex_adapt.data.table import Stretch, Utterance
from molex_adapt.text import short, shown


class RowError(Exception):
    """One fault of one row. The reader collects them, so that a user sees several at once."""

    def __init__(self, text: str, kind: Literal["line", "label", "duplicate"] = "line"):
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Entry:
    """An utterance, its row, and whether its source is only guessed from the file's stem."""

    utterance: Utterance
    number: int
    guessed: bool


def read_entry(row: Mapping[str, Any], base: Path, number: int) -> Entry:
    """The utterance that a row (by our column names) means; relative paths start at `base`.

    Raises:
        RowError: a value that cannot be meant.
    """
    written = path_of(row.get("path"))
    label = _label(row.get("label"))
    source, folder_attack, certain = origin_of(_below(written, base), label)
    given_source = _word(row, "source")
    utterance = Utterance(
        path=Path(os.path.normpath(base / written)),
        label=label,
        attack=_attack(label, _word(row, "attack"), folder_attack),
        source=given_source or source,
        speaker=_word(row, "speaker"),
        split=_split(_word(row, "split")),
        condition=_word(row, "condition"),
        text=_word(row, "text"),
        seconds=_seconds(row.get("seconds")),
        forged=_stretches(label, _word(row, "forged")),
        domain=_word(row, "domain") if label == SPOOF else None,
    )
    return Entry(utterance, number, guessed=given_source is None and not certain)


def plain(path: Path) -> Path:
    """`path` as an absolute one without "..", links as they are."""
    return Path(os.path.normpath(path.absolute()))


def _below(written: str, base: Path) -> PurePosixPath:
    """The path below `base`. Of a file elsewhere only the name counts, because its folders may mean anything."""
    path, top = Path(written), plain(base)
    if not path.is_absolute():
        return PurePosixPath(written)
    return PurePosixPath(path.relative_to(top) if path.is_relative_to(top) else path.name)


def path_of(value: Any) -> str:
    """A path as it is written; RowError where the cell holds none."""
    if not isinstance(value, str) or cell(value) is None:
        raise RowError(f"the path is {shown(value)}; expected the name of an audio file")
    if re.match(r"[a-z][a-z0-9+]+://", value, re.IGNORECASE):
        raise RowError(f"{short(value)} is an address; download the file and name its path")
    if "\0" in value:
        raise RowError(f"the path {shown(value)} holds a zero byte")
    return _text(value, "path").strip().replace("\\", "/")


def _label(value: Any) -> Label:
    word = cell(value)
    label = None if word is None else label_of(word)
    if label is None:
        raise RowError(
            "the label is empty; write 'bonafide' or 'spoof'" if word is None else label_fault(word), "label"
        )
    return label


def _word(row: Mapping[str, Any], name: str) -> str | None:
    word = cell(row.get(name))
    return None if word is None else _text(word, name)


def _text(value: str, name: str) -> str:
    """The value, unless no file could be named so; bytes of a file name that are no UTF-8 come as surrogates."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RowError(f"the {name} {shown(value)} is no valid text") from None
    return value


def _attack(label: Label, given: str | None, folder: str | None) -> str | None:
    if label == BONA_FIDE:
        if given is not None and label_of(given) != BONA_FIDE:
            raise RowError(
                f"a bonafide recording with the attack '{given}'; leave the attack empty, or label it spoof",
                "label",
            )
        return None
    if given is not None and label_of(given) == BONA_FIDE:
        raise RowError(f"a spoof whose attack is '{given}'; name the attack, or label it bonafide", "label")
    return given or folder or UNNAMED_ATTACK


def _split(word: str | None) -> Split | None:
    split = None if word is None else split_of(word)
    if word is not None and split is None:
        near = nearest_split(word)
        hint = f"; did you mean '{near}'?" if near else ""
        raise RowError(f"split '{word}' is none of {', '.join(SPLIT_WORDS)}{hint}")
    return split


def _stretches(label: Label, word: str | None) -> tuple[Stretch, ...] | None:
    if word is None:
        return None
    if label == BONA_FIDE:
        raise RowError(
            f"a bonafide recording that is forged from {shown(word)}; leave it empty, or label it spoof"
        )
    found = [re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", part) for part in word.split()]
    stretches = tuple((float(item[1]), float(item[2])) for item in found if item is not None)
    edges = [edge for stretch in stretches for edge in stretch]
    if None in found or any(start >= end for start, end in stretches) or edges != sorted(edges):
        raise RowError(
            f"forged is {shown(word)}; expected the seconds from when to when, in order, such as 0.84-1.62 or "
            "0.84-1.62 2.1-2.55"
        )
    return stretches


def _seconds(value: Any) -> Seconds | None:
    if cell(value) is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise RowError(f"its length in seconds is {shown(value)}; expected a number, or nothing")
    return seconds
