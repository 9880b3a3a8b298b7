"""WaveFake: LJSpeech and JSUT through vocoders, a folder for each; the originals lie beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SPOOF
from molex_adapt.data.corpora.corpus import PartListing, PublishedCorpus, Wanted, sub_folders
from molex_adapt.data.folder import find_audio
from molex_adapt.data.table import Utterance

SETS = {"ljspeech": "LJSpeech", "jsut": "JSUT"}
"""How a vocoder's folder begins, and whose voice it has."""
TTS = "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"
"""New sentences in the voice of LJSpeech."""
_FOLDER = re.compile(rf"({'|'.join(SETS)})_(?=.*(melgan|wavegan|hifigan|waveglow))\w+", re.IGNORECASE)
REAL = {
    "LJSpeech": ("LJSpeech-1.1/wavs", "LJSpeech/wavs", "ljspeech/wavs"),
    "JSUT": ("jsut_ver1.1/basic5000/wav", "JSUT/basic5000/wav", "jsut/basic5000/wav"),
}
"""Where the originals may be, below the corpus's folder or beside it."""


def _find(root: Path) -> tuple[Path, ...]:
    for top in (root / "generated_audio", root):
        if found := [item for item in sub_folders(top) if _voice(item.name)]:
            return tuple(found)
    return ()


def _read(root: Path, files: Sequence[Path], wanted: Wanted) -> Iterator[PartListing]:
    for folder in files:
        yield _read_vocoder(folder)
    tops = dict.fromkeys((root, files[0].parent, files[0].parent.parent, root.parent))
    for voice in dict.fromkeys(_voice(folder.name) for folder in files):
        if voice is not None:
            yield _read_real(voice, list(tops))


def _read_vocoder(folder: Path) -> PartListing:
    listing, voice = PartListing(folder), _voice(folder.name)
    for path in find_audio(folder):
        below = path.relative_to(folder.parent).as_posix()
        sentence = path.stem.removesuffix("_gen")
        source = f"{folder.name}/{sentence}" if folder.name == TTS else sentence
        listing.add(below, 0, Utterance(path, SPOOF, folder.name, source, voice))
    return listing


def _read_real(voice: str, tops: Sequence[Path]) -> PartListing:
    places = [top / place for top in tops for place in REAL[voice]]
    folder = next((place for place in places if place.is_dir()), None)
    listing = PartListing(folder or tops[0])
    if folder is None:
        text = f"WaveFake holds no bona fide speech: unpack {voice} into {tops[0] / REAL[voice][0]}"
        listing.remarks.append(text)
        return listing
    for path in find_audio(folder):
        below = path.relative_to(folder).as_posix()
        listing.add(below, 0, Utterance(path, BONA_FIDE, None, path.stem, voice))
    return listing


def _voice(name: str) -> str | None:
    if name == TTS:
        return SETS["ljspeech"]
    found = _FOLDER.fullmatch(name)
    return None if found is None else SETS[found[1].casefold()]


CORPUS = PublishedCorpus(
    name="WaveFake",
    home="https://zenodo.org/records/5642694; bona fide speech: LJSpeech, https://keithito.com/LJ-Speech-Dataset, and "
    "JSUT, https://sites.google.com/site/shinnosuketakamichi/publication/jsut",
    licence="CC BY-SA 4.0; LJSpeech is in the public domain, JSUT has terms of its own",
    citation="Frank and Schönherr, WaveFake: a data set to facilitate audio deepfake detection, NeurIPS 2021",
    find=_find,
    read=_read,
    note="It is not divided, and has two voices. A sentence and all its copies are on one side",
)
