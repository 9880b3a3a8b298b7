"""Fake-or-Real (FoR): training, validation and testing, each with fake/ and real/, in four versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label, Split
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, sub_folders
from molex_adapt.data.folder import UNNAMED_ATTACK, find_audio
from molex_adapt.data.table import Utterance
from molex_adapt.errors import DataError

_PARTS: dict[str, Split] = {"training": "train", "validation": "dev", "testing": "test"}
_LABELS: dict[str, Label] = {"fake": SPOOF, "real": BONA_FIDE}


def _find(root: Path) -> tuple[Path, ...]:
    """The folders of the parts: below the root itself, a version's folder, or the folder in that."""
    tops = [root, *(item for item in sub_folders(root) if item.name.casefold().startswith("for-"))]
    tops += [inner for top in tops[1:] for inner in sub_folders(top)]
    versions = [parts for top in tops if (parts := _parts(top))]
    if len(versions) > 1:
        names = ", ".join(parts[0].parent.relative_to(root).as_posix() for parts in versions)
        raise DataError(
            f"{root} holds several versions of Fake-or-Real ({names}): the same recordings, normalised, cut to 2 s, "
            "played and recorded again. Expected one. Name the folder of the one you mean."
        )
    return tuple(versions[0]) if versions else ()


def _parts(top: Path) -> list[Path]:
    named = {item.name.casefold(): item for item in sub_folders(top)}
    found = [named[part] for part in _PARTS if part in named]
    return [
        item for item in found if _LABELS.keys() <= {inner.name.casefold() for inner in sub_folders(item)}
    ]


def _read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
    for folder in files:
        part = folder.name.casefold()
        if not wanted(part):
            continue
        listing = PartListing(folder, part)
        for item in sub_folders(folder):
            label = _LABELS.get(item.name.casefold())
            if label is None:
                continue
            for path in find_audio(item):
                name = f"{part}/{path.relative_to(folder).as_posix()}"
                attack = UNNAMED_ATTACK if label == SPOOF else None
                # Every step of a version added a suffix: file7.wav_16k.wav_norm.wav is file7.
                source = f"{part}/{item.name.casefold()}/{path.name.partition('.')[0]}"
                listing.add(name, 0, Utterance(path, label, attack, source, split=_PARTS[part]))
        yield listing


CORPUS = PublishedCorpus(
    name="Fake-or-Real",
    home="https://bil.eecs.yorku.ca/datasets",
    licence="LGPL-3.0, as its mirror on Kaggle states",
    citation="Reimao and Tzerpos, FoR: a dataset for synthetic speech detection, SpeD 2019",
    find=_find,
    read=_read,
    note="It names neither attacks nor speakers. In for-original the classes differ in format as well",
)
