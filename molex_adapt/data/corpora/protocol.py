"""Protocols of the ASVspoof kind: a line for each recording, fields separated by blanks, no heading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path

from molex_adapt.conventions import NO_CONDITION, Split
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, judged, unwatched
from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.formats import ABSENT, cell, read_text
from molex_adapt.data.labels import split_of
from molex_adapt.data.places import settled
from molex_adapt.data.table import Utterance
from molex_adapt.errors import DataError
from molex_adapt.text import shown

_ELSEWHERE = "/\\\0"
"""What a bare name does not hold."""
_LONGEST_ABSENT = max(map(len, ABSENT))


def protocol_corpus(
    layout: Layout, *, home: str, licence: str, citation: str, note: str = ""
) -> PublishedCorpus:
    """The corpus of a layout."""

    def read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
        for path in files:
            split = layout.files.get(path.name)
            if split is None or "subset" in layout.columns or wanted(layout.parts[split]):
                roots = dict.fromkeys((root, *[*path.parents][: layout.above]))
                yield from list_protocol(path, layout, tuple(roots))

    return PublishedCorpus(
        name=layout.name,
        home=home,
        licence=licence,
        citation=citation,
        find=layout.find,
        read=read,
        note=note,
    )


def list_protocol(
    path: Path, layout: Layout, roots: Sequence[Path] = (), audio: Path | None = None
) -> list[PartListing]:
    """What one protocol file lists, by part; the eval part is the split "test".

    A source is the recording's name or, for one that ASVspoof 5 passed through a codec, the name of the original; the
    codec, or "none", is its condition. Recordings that are listed but not there are left for the audit to find.

    Args:
        path: the protocol file.
        layout: its columns.
        roots: what may be the tree's root; without it, the folders above the file.
        audio: the folder of the audio, or the tree's root, where it is not above the file.

    Raises:
        DataError: it is empty, or cannot be read.
    """
    lines, split = _opened(path, layout)
    looked = [audio] if audio is not None else list(roots) or [*path.parents][: layout.above]
    folders = _audio_folders(layout, split, looked) or ([] if audio is None else [audio])
    with unwatched():
        here = {file.name: file for folder in reversed(folders) for file in folder.iterdir()}
        read = _read_lines(path, lines, layout, split, folders[0] if folders else looked[0], here)
    if folders:
        for item in read:
            if not all(f"{name}{layout.suffix}" in here for name in item.ids):
                item.utterances, remarks = settled(item.utterances)
                item.remarks += remarks
        return read
    places = layout.audio[split or "test"]
    read[0].fault(
        None,
        "folder",
        f"{path} lists recordings of {layout.name}, but their folder is not there. Looked for {places[0]} in "
        f"{' and '.join(map(str, looked))}. Unpack the audio there, name its folder (data) and this file (key), or "
        "name only the parts that are there, such as DIR#train,dev",
    )
    return read


def list_protocol_names(path: Path, layout: Layout) -> list[PartListing]:
    """The same, whether or not any recording is there; their paths are bare names."""
    lines, split = _opened(path, layout)
    with unwatched():
        return _read_lines(path, lines, layout, split, Path(), {})


def _opened(path: Path, layout: Layout) -> tuple[list[str], Split | None]:
    """Its lines, and the split that they are of."""
    lines = read_text(path).split("\n")
    first = next((fields for line in lines if (fields := line.split())), None)
    if first is None:
        raise DataError(f"{path} is empty. Expected lines of {' '.join(layout.columns)}. Unpack it again.")
    return lines, _split(path, layout, first)


def _split(path: Path, layout: Layout, fields: Sequence[str]) -> Split | None:
    """By the organisers' name of the file, else by a word in its name, else by the first recording's name."""
    if path.name in layout.files:
        return layout.files[path.name]
    if len(layout.audio) == 1:
        return next(iter(layout.audio))
    words = [split_of(word) for word in path.name.split(".")]
    name = fields[min(layout.columns.index("file"), len(fields) - 1)]
    marks: dict[str, Split] = {"T": "train", "D": "dev", "E": "test"}
    return next((word for word in words if word), None) or next(
        (marks[part] for part in name.split("_") if part in marks), None
    )


def _audio_folders(layout: Layout, split: Split | None, roots: Sequence[Path]) -> list[Path]:
    """Those that hold the audio of a split; several where it is distributed in pieces."""
    for place in layout.audio[split] if split is not None else ():
        for root in roots:
            found = sorted(root.glob(place)) if "*" in place else [root / place] if place else []
            if found := [folder for folder in found if folder.is_dir()]:
                return found
    return []


@dataclass
class _Rows:
    """Lines of a protocol, split, and their numbers."""

    fields: list[list[str]]
    numbers: list[int]

    @cached_property
    def columns(self) -> list[list[str]]:
        return [[fields[place] for fields in self.fields] for place in range(len(self.fields[0]))]

    def having(self, place: int, word: str) -> _Rows:
        return self.select(lambda _, fields: fields[place] == word)

    def select(self, wanted: Callable[[int, list[str]], bool]) -> _Rows:
        kept = [
            (fields, number)
            for fields, number in zip(self.fields, self.numbers, strict=True)
            if wanted(number, fields)
        ]
        return _Rows([fields for fields, _ in kept], [number for _, number in kept])


def _read_lines(
    path: Path,
    lines: Iterable[str],
    layout: Layout,
    split: Split | None,
    audio: Path,
    here: Mapping[str, Path],
) -> list[PartListing]:
    """A listing for each part; the first one has the faults of all lines.

    Done column by column: half a million lines take seconds, and what most of them say is said thousands of times.

    Args:
        path, lines, layout, split: the file, what it holds, its columns, and of which split it is.
        audio: the folder of recordings that are not there.
        here: those that are, by name.
    """
    whole = PartListing(path, None if split is None else layout.parts[split])
    rows = _Rows([], [])
    width = len(layout.columns)
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if len(fields) == width:
            rows.fields.append(fields)
            rows.numbers.append(number)
        elif fields:
            text = f"{len(fields)} columns. {layout.name} has {width}: {' '.join(layout.columns)}"
            whole.fault(number, "line", text)
    rows = _clean(rows, layout, whole)
    if not rows.fields:
        return [whole]
    if "subset" not in layout.columns:
        _list(rows, layout, split, audio, here, whole)
        return [whole]
    at = layout.columns.index("subset")
    parts = list(dict.fromkeys(rows.columns[at]))
    listings = [whole, *(PartListing(path) for _ in parts[1:])]
    for part, listing in zip(parts, listings, strict=True):
        listing.part = part
        _list(rows.having(at, part), layout, split, audio, here, listing)
    return listings


def _clean(rows: _Rows, layout: Layout, listing: PartListing) -> _Rows:
    """The rows that can be meant; the others become faults."""
    if not rows.fields:
        return rows
    key, attack, file = (layout.columns.index(name) for name in ("key", "attack", "file"))
    pairs = set(zip(rows.columns[key], rows.columns[attack], strict=True))
    wrong = {pair: found for pair in pairs if isinstance(found := judged(*pair), str)}
    names = rows.columns[file]
    joined = "\n".join(names)
    strange = min(map(len, names)) <= _LONGEST_ABSENT or any(sign in joined for sign in _ELSEWHERE)
    if not (wrong or strange or len(set(names)) < len(names)):
        return rows
    before: dict[str, int] = {}

    def fine(number: int, fields: list[str]) -> bool:
        name, pair = fields[file], (fields[key], fields[attack])
        if pair in wrong:
            listing.fault(number, "label", wrong[pair])
        elif cell(name) is None:
            listing.fault(number, "line", "no file name")
        elif any(sign in name for sign in _ELSEWHERE):
            text = f"the file name {shown(name)} leads elsewhere. {layout.name} names files, not paths"
            listing.fault(number, "line", text)
        elif before.setdefault(name, number) != number:
            listing.repeated(name, number, before[name])
        else:
            return True
        return False

    return rows.select(fine)


def _list(
    rows: _Rows,
    layout: Layout,
    split: Split | None,
    audio: Path,
    here: Mapping[str, Path],
    listing: PartListing,
) -> None:
    """Put clean rows into a listing."""
    columns = dict(zip(layout.columns, rows.columns, strict=True))
    names = columns["file"]
    pairs = list(zip(columns["key"], columns["attack"], strict=True))
    verdicts = {
        pair: found for pair in set(pairs) if not isinstance(found := judged(*pair), str)
    }  # clean rows have no others
    means = [verdicts[pair] for pair in pairs]
    files = [f"{name}{layout.suffix}" for name in names]
    sibling = (audio / "any").with_name  # sooner there than a path that is joined
    conditions: Iterable[str | None] = repeat(None)
    if "codec" in columns:
        conditions = _said(columns["codec"], NO_CONDITION, layout.none)
    seeds = _said(columns["codec_seed"]) if "codec_seed" in columns else names
    listing.ids = dict(zip(names, rows.numbers, strict=True))
    listing.utterances = list(
        map(
            Utterance,
            [here.get(file) or sibling(file) for file in files],
            [label for label, _ in means],
            [attack for _, attack in means],
            [seed or name for name, seed in zip(names, seeds, strict=True)],
            _said(columns["speaker"]),
            repeat(split),
            conditions,
        )
    )


def _said(words: Sequence[str], absent: str | None = None, others: Sequence[str] = ()) -> list[str | None]:
    """The words, with another value where a cell is not there, or says one of `others`."""
    nothing = {word for word in set(words) if len(word) <= _LONGEST_ABSENT and cell(word) is None} | {*others}
    return [absent if word in nothing else word for word in words]
