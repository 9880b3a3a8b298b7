"""MLAAD: text-to-speech in many languages, and M-AILABS beside it, whose sentences it speaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from molex_adapt.conventions import BONA_FIDE, SPOOF
from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, sub_folders
from molex_adapt.data.corpora.delimited import rows_of, starts_with
from molex_adapt.data.folder import find_audio
from molex_adapt.data.table import Utterance

COLUMNS = ("path", "original_file", "language")
REAL_FOLDERS = ("mailabs", "mailabsspeechdataset", "original", "real")
"""What the folder of M-AILABS may be called, in MLAAD or, but for the last two, beside it; in letters alone."""


def _find(root: Path) -> tuple[Path, ...]:
    for top in (root, root.parent if root.name == "fake" else root):
        found = sorted((top / "fake").glob("*/*/meta.csv"))
        if found and starts_with(found[0], COLUMNS, "|"):
            return tuple(found)
    return ()


def _read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
    for path in files:
        yield _read_system(path)
    top = files[0].parents[3]
    folder = _real_folder(top)
    if folder is None:
        listing = PartListing(top)
        listing.remarks.append(
            f"MLAAD holds no bona fide speech: unpack M-AILABS into {top / 'M-AILABS'} or beside {top.name}/"
        )
        yield listing
    else:
        yield _read_real(folder)


def _read_system(path: Path) -> PartListing:
    """The folder of a system is the attack; the language in a row's path is not always that of the folder."""
    listing, system, nameless = PartListing(path), path.parent.name, 0
    for number, row in rows_of(path, COLUMNS, listing, "|"):
        name = PurePosixPath(row["path"].strip().replace("\\", "/")).name
        if PurePosixPath(name).suffix.lower() not in AUDIO_SUFFIXES or "\0" in name:
            nameless += 1  # a sentence with a line break goes on here
            continue
        source = _sentence(row["original_file"]) or f"{system}/{PurePosixPath(name).stem}"
        place = f"{path.parent.parent.name}/{system}/{name}"
        listing.add(place, number, Utterance(path.parent / name, SPOOF, system, source))
    if nameless:
        listing.remarks.append(f"{path}: lines that name no recording: {nameless}")
    return listing


def _read_real(folder: Path) -> PartListing:
    listing = PartListing(folder)
    for path in find_audio(folder):
        below = path.relative_to(folder).as_posix()
        source = _sentence(below)
        speaker = source.split("/")[-4] if source is not None and source.count("/") >= 3 else None
        listing.add(below, 0, Utterance(path, BONA_FIDE, None, source or below.rpartition(".")[0], speaker))
    return listing


def _sentence(path: str) -> str | None:
    """A recording of M-AILABS from the folder `by_book` on, whatever the language's folder is called."""
    parts = PurePosixPath(path.strip().replace("\\", "/")).parts
    if "by_book" not in parts[:-1]:
        return None
    return PurePosixPath(*parts[parts.index("by_book") + 1 :]).with_suffix("").as_posix()


def _real_folder(top: Path) -> Path | None:
    for place, names in ((top, REAL_FOLDERS), (top.parent, REAL_FOLDERS[:2])):
        for item in sub_folders(place):
            if re.sub(r"[^a-z]", "", item.name.casefold()) in names:
                return item
    return None


CORPUS = PublishedCorpus(
    name="MLAAD",
    home="https://deepfake-total.com/mlaad; bona fide speech: M-AILABS, https://github.com/i-celeste-aurora/m-ailabs-dataset",
    licence="CC BY-NC 4.0; M-AILABS has one of its own, which allows any use",
    citation="Müller et al., MLAAD: the multi-language audio anti-spoofing dataset, IJCNN 2024",
    find=_find,
    read=_read,
    note="It is not divided. A sentence of M-AILABS and all that speaks it are on one side; speakers are known of "
    "M-AILABS",
)
