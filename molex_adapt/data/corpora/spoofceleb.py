"""SpoofCeleb: VoxCeleb1 in real conditions, and 23 synthesisers trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SPOOF, Split
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, leads_elsewhere
from molex_adapt.data.corpora.delimited import rows_of, starts_with
from molex_adapt.data.formats import cell
from molex_adapt.data.table import Utterance
from molex_adapt.text import shown

COLUMNS = ("file", "speaker", "attack")
REAL = "a00"
"""The attack of bona fide speech, and its folder."""
_PARTS: dict[str, Split] = {"train": "train", "development": "dev", "evaluation": "test"}


def _find(root: Path) -> tuple[Path, ...]:
    for top in (root, root / "spoofceleb"):
        found = [top / "metadata" / f"{part}.csv" for part in _PARTS]
        if found := [path for path in found if starts_with(path, COLUMNS)]:
            return tuple(found)
    return ()


def _read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
    for path in files:
        if wanted(path.stem):
            yield _read_part(path)


def _read_part(path: Path) -> PartListing:
    listing, split = PartListing(path, path.stem), _PARTS[path.stem]
    audio = path.parent.parent / "flac" / path.stem
    if not audio.is_dir():
        text = (
            f"{path} lists recordings of SpoofCeleb, but their folder {audio} is not there. Unpack the audio there, or "
            "name only the parts that are there, such as DIR#train,dev"
        )
        listing.fault(None, "folder", text)
    for number, row in rows_of(path, COLUMNS, listing):
        name, attack = row["file"].strip(), row["attack"].strip()
        folder = name.partition("/")[0]
        if cell(name) is None or leads_elsewhere(name):
            listing.fault(
                number, "line", f"the file name is {shown(name)}; expected one such as a00/id10001/x.flac"
            )
        elif cell(attack) is None:
            listing.fault(number, "label", f"no attack; expected {REAL} for bona fide speech, or a01 and on")
        elif "/" in name and REAL in (folder, attack) and folder != attack:
            text = f"{shown(name)} with the attack {attack}; {REAL} is bona fide speech, all else is spoof"
            listing.fault(number, "label", text)
        else:
            source = f"{path.stem}/{name.rpartition('.')[0] or name}"
            label, named = (BONA_FIDE, None) if attack == REAL else (SPOOF, attack)
            item = Utterance(audio / name, label, named, source, cell(row["speaker"]), split)
            listing.add(name, number, item)
    return listing


CORPUS = PublishedCorpus(
    name="SpoofCeleb",
    home="https://jungjee.github.io/spoofceleb",
    licence="CC BY 4.0; its speech is that of VoxCeleb1",
    citation="Jung et al., SpoofCeleb: speech deepfake detection and SASV in the wild, IEEE OJSP 6, 2025",
    find=_find,
    read=_read,
)
