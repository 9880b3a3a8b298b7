"""The lines of a protocol, column by column: what most of half a million say is said thousands of times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
from operator import eq, is_
from pathlib import Path

from molex_adapt.conventions import NO_CONDITION, Split
from molex_adapt.data.corpora.corpus import PartListing, judged
from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.formats import ABSENT, cell
from molex_adapt.data.places import settled
from molex_adapt.data.table import utterances_of
from molex_adapt.text import shown

_ELSEWHERE = "/\\\0"
"""What a bare name does not hold."""
_LONGEST_ABSENT = max(map(len, ABSENT))


@dataclass(frozen=True)
class AudioFolders:
    """Where the recordings of a protocol are.

    Attributes:
        first: the folder of those that are not there.
        here: those that are there, by the file's name; None where nobody looked.
    """

    first: Path
    here: Mapping[str, Path] | None = None

    @classmethod
    def listed(cls, folders: Sequence[Path]) -> AudioFolders:
        """Of a name that is in several of the folders, the first one counts."""
        return cls(folders[0], {file.name: file for folder in reversed(folders) for file in folder.iterdir()})

    def paths(self, files: Sequence[str]) -> tuple[list[Path], bool]:
        """A path for each file, and whether any was looked for in vain."""
        # What iterdir makes its paths by, where Python has it: a join looks for folders in names that have none.
        child = getattr(self.first, "_make_child_relpath", self.first.joinpath)
        if self.here is None:
            return list(map(child, files)), False
        found = list(map(self.here.get, files))
        lost = any(map(is_, found, repeat(None)))
        return [path or child(file) for path, file in zip(found, files, strict=True)], lost


def read_lines(
    path: Path, lines: Sequence[str], layout: Layout, split: Split | None, audio: AudioFolders
) -> list[PartListing]:
    """A listing for each part; the first one has the faults of all lines."""
    whole = PartListing(path, None if split is None else layout.parts[split])
    rows = _clean(_divided(lines, layout, whole), whole)
    if not rows.numbers:
        return [whole]
    if "subset" not in layout.columns:
        _list(rows, split, audio, whole)
        return [whole]
    parts = list(dict.fromkeys(rows["subset"]))
    listings = [whole, *(PartListing(path) for _ in parts[1:])]
    for part, listing in zip(parts, listings, strict=True):
        listing.part = part
        _list(rows.select(list(map(eq, rows["subset"], repeat(part)))), split, audio, listing)
    return listings


@dataclass
class _Rows:
    """Lines of a protocol, by column, and their numbers."""

    layout: Layout
    columns: list[Sequence[str]]
    numbers: Sequence[int]

    def __getitem__(self, name: str) -> Sequence[str]:
        return self.columns[self.layout.columns.index(name)]

    @cached_property
    def lines_of(self) -> dict[str, int]:
        """The line of every recording; the last one, if there are several."""
        return dict(zip(self["file"], self.numbers, strict=True))

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The key and the attack of every line."""
        return list(zip(self["key"], self["attack"], strict=True))

    def select(self, wanted: Sequence[bool]) -> _Rows:
        columns: list[Sequence[str]] = [list(compress(column, wanted)) for column in self.columns]
        return _Rows(self.layout, columns, list(compress(self.numbers, wanted)))


def _divided(lines: Sequence[str], layout: Layout, listing: PartListing) -> _Rows:
    """The lines that have all columns; others that are not empty become faults."""
    width = len(layout.columns)
    fields = [line.split() for line in lines]
    widths = list(map(len, fields))
    if not {*widths} <= {0, width}:
        for number, count in enumerate(widths, 1):
            if count not in (0, width):
                text = f"{count} columns. {layout.name} has {width}: {' '.join(layout.columns)}"
                listing.fault(number, "line", text)
    wanted = [count == width for count in widths]
    columns: list[Sequence[str]] = list(zip(*compress(fields, wanted), strict=True))
    return _Rows(layout, columns, list(compress(range(1, len(lines) + 1), wanted)))


def _clean(rows: _Rows, listing: PartListing) -> _Rows:
    """The rows that can be meant; the others become faults."""
    if not rows.numbers:
        return rows
    wrong = {pair: found for pair in set(rows.pairs) if isinstance(found := judged(*pair), str)}
    names = rows["file"]
    joined = "\n".join(names)
    strange = min(map(len, names)) <= _LONGEST_ABSENT or any(sign in joined for sign in _ELSEWHERE)
    if not (wrong or strange or len(rows.lines_of) < len(names)):
        return rows
    before: dict[str, int] = {}

    def fine(number: int, name: str, pair: tuple[str, str]) -> bool:
        if pair in wrong:
            listing.fault(number, "label", wrong[pair])
        elif cell(name) is None:
            listing.fault(number, "line", "no file name")
        elif any(sign in name for sign in _ELSEWHERE):
            text = f"the file name {shown(name)} leads elsewhere. {rows.layout.name} names files, not paths"
            listing.fault(number, "line", text)
        elif before.setdefault(name, number) != number:
            listing.repeated(name, number, before[name])
        else:
            return True
        return False

    return rows.select(list(map(fine, rows.numbers, names, rows.pairs)))


def _list(rows: _Rows, split: Split | None, audio: AudioFolders, listing: PartListing) -> None:
    """Put clean rows into a listing."""
    layout, names = rows.layout, rows["file"]
    verdicts = {pair: judged(*pair) for pair in set(rows.pairs)}  # no faults any more
    labels, attacks = zip(*map(verdicts.__getitem__, rows.pairs), strict=True)
    paths, lost = audio.paths([f"{name}{layout.suffix}" for name in names])
    conditions: Iterable[str | None] = repeat(None)
    if "codec" in layout.columns:
        conditions = _said(rows["codec"], NO_CONDITION, layout.none)
    sources: Sequence[str] = names
    if "codec_seed" in layout.columns:
        seeds = rows["codec_seed"]
        absent = _absent(seeds)
        sources = [name if seed in absent else seed for name, seed in zip(names, seeds, strict=True)]
    listing.ids = rows.lines_of
    listing.utterances = utterances_of(
        len(names),
        path=paths,
        label=labels,
        attack=attacks,
        source=sources,
        speaker=_said(rows["speaker"]),
        split=repeat(split),
        condition=conditions,
    )
    if lost:
        listing.utterances, remarks = settled(listing.utterances)
        listing.remarks += remarks


def _said(words: Sequence[str], absent: str | None = None, others: Sequence[str] = ()) -> list[str | None]:
    """The words, each kept once, with another value where a cell is not there, or says one of `others`."""
    means: dict[str, str | None] = dict(zip(words, words, strict=True))
    means |= dict.fromkeys(_absent(means).union(means.keys() & {*others}), absent)
    return list(map(means.__getitem__, words))


def _absent(words: Iterable[str]) -> set[str]:
    """Those that say that a cell is not there."""
    return {word for word in {word for word in words if len(word) <= _LONGEST_ABSENT} if cell(word) is None}
