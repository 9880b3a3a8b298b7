"""In-the-Wild: public figures as found on the web, genuine and forged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, judged, leads_elsewhere
from molex_adapt.data.corpora.delimited import rows_of, starts_with
from molex_adapt.data.formats import cell
from molex_adapt.data.table import Utterance
from molex_adapt.text import shown

COLUMNS = ("file", "speaker", "label")


def _find(root: Path) -> tuple[Path, ...]:
    places = (root / "meta.csv", root / "release_in_the_wild" / "meta.csv")
    return tuple(path for path in places if starts_with(path, COLUMNS))[:1]


def _read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
    for path in files:
        listing = PartListing(path)
        for number, row in rows_of(path, COLUMNS, listing):
            name, verdict = row["file"].strip(), judged(row["label"], None)
            if isinstance(verdict, str):
                listing.fault(number, "label", verdict)
            elif cell(name) is None or leads_elsewhere(name):
                listing.fault(number, "line", f"the file name is {shown(name)}; expected one such as 0.wav")
            else:
                source, speaker = Path(name).stem, cell(row["speaker"])
                listing.add(name, number, Utterance(path.parent / name, *verdict, source, speaker))
        yield listing


CORPUS = PublishedCorpus(
    name="In-the-Wild",
    home="https://deepfake-total.com/in_the_wild (release_in_the_wild.zip)",
    licence="Apache-2.0 (some state CC BY-SA 4.0: read what comes with it)",
    citation="Müller et al., Does audio deepfake detection generalize?, Interspeech 2022",
    find=_find,
    read=_read,
    note="It is not divided and names no attacks; speakers are known, and one is on one side only where it is divided",
)
