"""Find bona fide recordings: any folder of audio, and the telephone prompts that Debian ships for Asterisk."""

from __future__ import annotations

import gzip
import os
import re
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, SAMPLE_RATE, Seconds
from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.folder import class_folders
from molex_adapt.data.formats import FORMATS
from molex_adapt.data.manifest import has_labels, read_unlabelled
from molex_adapt.data.read import holds_list, read
from molex_adapt.data.sniff import holds_audio
from molex_adapt.data.table import Failed, Table, Utterance
from molex_adapt.errors import AudioError, DataError

MIN_SECONDS: Seconds = 0.7
TRANSCRIPTS = Path("/usr/share/doc")
"""Where Debian's asterisk-core-sounds-<language> packages put their transcripts."""

_PROMPT_FOLDER = re.compile(r"(?P<language>[a-z]{2})_(?P<region>[A-Z]{2})_(?P<sex>[fm])_(?P<voice>\w+)")
_REMARK = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_NOT_SPEECH = (
    *("ascending-2tone", "descending-2tone", "beep", "beeperr"),
    *("confbridge-join", "confbridge-leave", "tt-monkeys", "vm-intro"),
)
"""Prompts that are or end in a sound, in every language; not every transcript says so."""


def prompts(
    folder: Path,
    *,
    voices: Collection[str] | None = None,
    suffixes: Collection[str] | None = None,
    min_seconds: Seconds = MIN_SECONDS,
    transcripts: Path = TRANSCRIPTS,
) -> Table:
    """All bona fide recordings under `folder`, symbolic links left out.

    The source is the path without suffix; the speaker is the first sub-folder, if there is one. In the layout of
    Debian's Asterisk prompts (`en_US_f_Allison/...`) the speaker is the voice's name, the text comes from the
    transcript, and prompts whose transcript says that they are no speech are left out. What is left out is in
    `Table.left_out`, with why.

    Args:
        folder: where to look, recursively.
        voices: first sub-folders to look in; None for all there are.
        suffixes: of the files that count, in lower case with their dot; None for all that are audio, by their suffix
            or else by how they begin. Others are in `Table.passed_over`.
        min_seconds: shorter recordings are left out, as are unreadable ones.
        transcripts: folder with Debian's `asterisk-core-sounds-<language>` documentation.

    Raises:
        DataError: no folder, or no usable recording in it.

    Source: own.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. Expected one with recordings of real speech; check the path."
        )
    places = [folder] if voices is None else [folder / voice for voice in voices]
    paths: list[Path] = []
    others: list[Path] = []
    for path in sorted(path for place in places for path in _files(place)):
        (paths if _counts(path, suffixes) else others).append(path)
    texts = {part: _transcript(part, transcripts) for part in {_first_folder(path, folder) for path in paths}}
    rows, left_out = [], []
    for path in paths:
        found = _usable(path, _utterance(path, folder, texts[_first_folder(path, folder)]), min_seconds)
        if isinstance(found, Failed):
            left_out.append(found)
        else:
            rows.append(found)
    if not rows:
        raise DataError(
            f"{folder} has no speech of at least {min_seconds} s among its {len(paths)} audio files. Expected "
            f"recordings ({', '.join(sorted(suffixes or AUDIO_SUFFIXES))}); give another folder."
        )
    passed_over = () if suffixes else tuple(str(path) for path in others if not path.name.startswith("."))
    return Table(tuple(rows), str(folder), passed_over, left_out=tuple(left_out))


def speech_of(path: Path) -> Table:
    """A data set as what it says it is; any other folder, and a manifest without labels, as real speech throughout.

    Raises:
        DataError: nothing usable there.
    """
    if path.suffix.lower() in FORMATS and path.is_file() and not has_labels(path):
        return read_unlabelled(path)
    return read(path) if not path.is_dir() or class_folders(path) or holds_list(path) else prompts(path)


def language_of(row: Utterance) -> str | None:
    """Such as "fr-CA", where the source begins as Debian's prompts do; else None."""
    found = _PROMPT_FOLDER.match(row.source)
    return f"{found['language']}-{found['region']}" if found else None


def _files(folder: Path) -> list[Path]:
    """Files below a folder, each once: under its own name, and through a link only where that leads elsewhere."""
    found: dict[str, Path] = {}
    entered: set[str] = set()
    waiting = deque([folder])
    while waiting:
        place = waiting.popleft()
        if (real := os.path.realpath(place)) in entered:
            continue
        entered.add(real)
        for entry in place.iterdir():
            # What a link leads to may stand below the folder as well: links come last.
            if entry.is_dir():
                (waiting.append if entry.is_symlink() else waiting.appendleft)(entry)
            elif entry.is_file():
                known = found.get(key := os.path.realpath(entry))
                if known is None or known.is_symlink():
                    found[key] = entry
    return list(found.values())


def _counts(path: Path, suffixes: Collection[str] | None) -> bool:
    suffix = path.suffix.lower()
    return suffix in suffixes if suffixes else suffix in AUDIO_SUFFIXES or holds_audio(path)


def _first_folder(path: Path, folder: Path) -> str | None:
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def _transcript(part: str | None, transcripts: Path) -> dict[str, str] | None:
    """Text by prompt name; None: not Debian's prompts; empty: its transcript is not installed."""
    found = _PROMPT_FOLDER.fullmatch(part or "")
    if not found:
        return None
    language = found["language"]
    path = transcripts / f"asterisk-core-sounds-{language}" / f"core-sounds-{language}.txt.gz"
    if not path.exists():
        return {}
    with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
        pairs = (line.split(":", 1) for line in lines if ":" in line and not line.lstrip().startswith(";"))
        return {name.strip(): text.strip() for name, text in pairs}


def _utterance(path: Path, folder: Path, texts: dict[str, str] | None) -> Utterance | None:
    """None for what the transcript calls beeps, tones, music or silence."""
    relative = path.relative_to(folder).with_suffix("")
    first = _first_folder(path, folder)
    if texts is None:
        return Utterance(path=path, label=BONA_FIDE, source=relative.as_posix(), speaker=first)
    prompt = "/".join(relative.parts[1:])
    text = _REMARK.sub(" ", texts[prompt]) if prompt in texts else None
    if prompt in _NOT_SPEECH or prompt.startswith("silence/"):
        return None
    if text is not None and not any(letter.isalnum() for letter in text):
        return None
    voice = _PROMPT_FOLDER.fullmatch(first or "")
    speaker = voice["voice"].lower() if voice else first
    words = " ".join(text.split()) if text is not None else None
    return Utterance(path=path, label=BONA_FIDE, source=relative.as_posix(), speaker=speaker, text=words)


def _usable(path: Path, row: Utterance | None, min_seconds: Seconds) -> Utterance | Failed:
    """The utterance with its length; or why it is left out."""
    if row is None:
        return Failed(str(path), "no speech, by its name or its transcript", by_rule=True)
    try:
        seconds = _seconds(path)
    except AudioError as error:
        return Failed(str(path), str(error))
    if seconds < min_seconds:
        reason = f"too short: {seconds:.2f} s, at least {min_seconds:g} s are needed"
        return Failed(str(path), reason, by_rule=True)
    return replace(row, seconds=seconds)


def _seconds(path: Path) -> Seconds:
    """Length by the header, without decoding where that works."""
    if path.suffix.lower() == ".g722" and (size := path.stat().st_size):
        return size / 8_000
    from molex_adapt.data.audio import decode, stated_seconds

    stated = stated_seconds(path)
    return stated if stated is not None else decode(path).size / SAMPLE_RATE
