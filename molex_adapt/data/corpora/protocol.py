"""Protocols of the ASVspoof kind: a line for each recording, fields separated by blanks, no heading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from molex_adapt.conventions import Split
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, unwatched
from molex_adapt.data.corpora.layout import Layout
from molex_adapt.data.corpora.protocol_lines import AudioFolders, read_lines
from molex_adapt.data.formats import read_text
from molex_adapt.data.labels import split_of
from molex_adapt.errors import DataError


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
        places = AudioFolders.listed(folders) if folders else AudioFolders(looked[0])
        read = read_lines(path, lines, layout, split, places)
    if folders:
        if layout.complete is not None:
            for item in read:
                layout.complete(item, [*dict.fromkeys((*looked, *[*path.parents][: layout.above]))])
        return read
    wanted = layout.audio[split or "test"][0]
    read[0].fault(
        None,
        "folder",
        f"{path} lists recordings of {layout.name}, but their folder is not there. Looked for {wanted} in "
        f"{' and '.join(map(str, looked))}. Unpack the audio there, name its folder (data) and this file (key), or "
        "name only the parts that are there, such as DIR#train,dev",
    )
    return read


def list_protocol_names(path: Path, layout: Layout) -> list[PartListing]:
    """The same, whether or not any recording is there; their paths are bare names."""
    lines, split = _opened(path, layout)
    with unwatched():
        return read_lines(path, lines, layout, split, AudioFolders(Path()))


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
