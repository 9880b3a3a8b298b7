"""The folder layout: `bonafide/` and `spoof/<attack>/`, with any folders inside."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label
from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.labels import LABEL_WORDS, label_of, nearest_label
from molex_adapt.data.sniff import holds_audio
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.text import storable

UNNAMED_ATTACK = SPOOF
"""The attack of spoofed files that lie directly in the spoof folder."""


def class_folders(root: Path) -> list[tuple[Path, Label]]:
    """The sub-folders of `root` that name a class in any accepted spelling, sorted by name."""
    found = [(item, label_of(item.name)) for item in _sub_folders(root)]
    return [(folder, label) for folder, label in found if label is not None]


def read_folder(root: Path) -> Table:
    """Read `root/bonafide/**` and `root/spoof/<attack>/**`.

    The class folders may have any accepted spelling ("real", "Bona-Fide", "fake"). Files directly in the
    spoof folder have the attack "spoof". A recording's source is its path below the class (and attack) folder
    without suffix: spoof/world/a.wav is a copy of bonafide/a.wav. Files without a suffix of audio are read if
    they begin as audio does; all others, and folders of no class, are in `passed_over`. A root with one class only is
    read; whoever needs both says so.

    Raises:
        DataError: no class folder, one with a misspelt name, or no audio in them.

    Source: own.
    """
    folders = class_folders(root)
    _refuse_misspelt(root, folders)
    utterances: list[Utterance] = []
    passed: list[Path] = [
        item for item in _sub_folders(root) if item not in dict(folders) and find_audio(item)
    ]
    for folder, label in sorted(folders, key=lambda pair: (pair[1], pair[0].name)):
        found = search(folder)
        utterances += [_utterance(folder, label, path) for path in found.audio]
        passed += found.others
    if not utterances:
        raise DataError(_nothing_found(root, [folder for folder, _ in folders]))
    return Table(tuple(utterances), str(root), tuple(map(str, passed)))


@dataclass(frozen=True, slots=True)
class Found:
    """The files below a folder, sorted."""

    audio: list[Path]
    others: list[Path]
    """No audio, by their name and their first bytes."""


def find_audio(root: Path) -> list[Path]:
    """Every recording below `root`, as `search` finds them."""
    return search(root).audio


def search(root: Path) -> Found:
    """Every file below `root`: what has a suffix of audio, or begins as audio does, and all others.

    Hidden files are neither. Links are followed, but no folder is entered twice.

    Raises:
        DataError: a folder cannot be listed.
    """
    found: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()
    for folder, names, files in os.walk(root, onerror=_refuse_unreadable, followlinks=True):
        real = os.path.realpath(folder)
        names[:] = [] if real in seen else [name for name in names if not _hidden(name)]
        if real not in seen:
            for path in (Path(folder, name) for name in files if not _hidden(name)):
                audio = path.suffix.lower() in AUDIO_SUFFIXES or holds_audio(path)
                (found if audio else others).append(path)
        seen.add(real)
    return Found(*(sorted(paths, key=lambda path: path.as_posix()) for paths in (found, others)))


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(
        f"{error.filename} cannot be listed ({error.strerror}). Check the folder's permissions."
    ) from error


def origin_of(path: PurePath, label: Label) -> tuple[str, str | None, bool]:
    """What the path of an utterance says about it when the class is known.

    Returns:
        its source, its attack folder if there is one, and whether the path goes through a class folder
        (only then is the source more than the file's stem).
    """
    parts = path.parts[:-1]
    at = next((i for i in reversed(range(len(parts))) if label_of(parts[i]) == label), None)
    if at is None:
        return path.stem, None, False
    below = PurePosixPath(*parts[at + 1 :], path.stem)
    if label == SPOOF and len(below.parts) > 1:
        return PurePosixPath(*below.parts[1:]).as_posix(), storable(below.parts[0]), True
    return below.as_posix(), None, True


def _utterance(folder: Path, label: Label, path: Path) -> Utterance:
    source, attack, _ = origin_of(PurePath(label, path.relative_to(folder)), label)
    if label == SPOOF and attack is None:
        attack = UNNAMED_ATTACK
    return Utterance(path, label, attack, source=source)


def _sub_folders(root: Path) -> list[Path]:
    return sorted(item for item in root.iterdir() if item.is_dir() and not _hidden(item.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse_misspelt(root: Path, folders: list[tuple[Path, Label]]) -> None:
    """Refuse a folder whose name is nearly a class, or which is there in place of a missing class."""
    known = [folder for folder, _ in folders]
    others = [item for item in _sub_folders(root) if item not in known]
    for item in others:
        near = nearest_label(item.name, cutoff=0.75)
        if near is not None:
            raise DataError(
                f"{root}: the folder '{item.name}' names no class, but nearly '{near}'. Class folders are called "
                f"{', '.join(LABEL_WORDS)}. Rename it, or move it away if it is something else."
            )
    present = {label for _, label in folders}
    strange = [item.name for item in others if len(present) == 1 and find_audio(item)]
    if strange:
        missing = SPOOF if BONA_FIDE in present else BONA_FIDE
        raise DataError(
            f"{root} has '{known[0].name}/' but no {missing} folder, and audio in {', '.join(strange[:5])}. Expected "
            f"bonafide/ and spoof/<attack>/. Move the {missing} recordings into '{missing}/', or the others away."
        )


def _nothing_found(root: Path, folders: list[Path]) -> str:
    suffixes = Counter(
        Path(name).suffix.lower() or "no suffix"
        for folder in folders
        for _, _, files in os.walk(folder)
        for name in files
    )
    seen = ", ".join(f"{count} x {suffix}" for suffix, count in suffixes.most_common(5)) or "no files at all"
    looked = ", ".join(f"{folder.name}/" for folder in folders) or "no bonafide/ or spoof/ folder"
    return (
        f"{root}: no audio found (looked in {looked}; found {seen}). Expected files ending in .wav, .flac, .mp3, .ogg, "
        ".g722, .m4a or another audio suffix. Put recordings there, or name them in a manifest."
    )
