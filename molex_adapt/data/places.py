"""Where recordings are that stand under another form of their name: in another Unicode form, or with another suffix."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from molex_adapt.data.containers import AUDIO_SUFFIXES
from molex_adapt.data.table import Utterance
from molex_adapt.text import visible


def settled(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The utterances with the paths under which their files are, and a remark if some are elsewhere than named.

    A name that is not there is that of the only file in its folder that is called the same in another Unicode form
    (macOS writes é as two signs) or case, or has the same stem and another suffix of audio. No two names get one file:
    nothing tells which of them means it. What is still not there is left for the audit to find. Each folder is listed
    once.
    """
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for item in utterances:
        folders[item.path.parent].append(item.path)
    places: dict[Path, Path] = {}
    for folder, paths in folders.items():
        places |= _in_folder(folder, paths)
    places = _unshared(places, {item.path for item in utterances})
    found = [replace(item, path=places.get(item.path, item.path)) for item in utterances]
    if not places:
        return found, []
    named, there = next(iter(places.items()))
    return found, [
        f"under another form of their names: {len(places)} ({visible(there.name)} for {visible(named.name)})"
    ]


def _in_folder(folder: Path, paths: Iterable[Path]) -> dict[Path, Path]:
    names = names_in(folder)
    if names is None:
        for form in ("NFC", "NFD"):
            other = Path(unicodedata.normalize(form, str(folder)))
            if (names := names_in(other)) is not None:
                folder = other
                break
    if names is None:
        return {}
    here = set(names)
    missing = [path for path in paths if path.name not in here]
    if not missing and folder == next(iter(paths)).parent:
        return {}
    by_name, by_stem = _index(names)
    found = {}
    for path in paths:
        key = _plain(path.name)
        several = by_name.get(key) or by_stem.get(_plain(path.stem), [])
        name = path.name if path.name in here else several[0] if len(several) == 1 else None
        if name is not None and folder / name != path:
            found[path] = folder / name
    return found


def _unshared(places: Mapping[Path, Path], named: Iterable[Path]) -> dict[Path, Path]:
    """The places that one name alone leads to, of all that are named."""
    claims = Counter(places.get(path, path) for path in named)
    return {path: there for path, there in places.items() if claims[there] == 1}


def names_in(folder: Path | str) -> list[str] | None:
    """The names of everything in a folder; None where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (OSError, ValueError):
        return None


def _index(names: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names by their composed form, and recordings by that of their stem."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_name[_plain(name)].append(name)
        if Path(name).suffix.lower() in AUDIO_SUFFIXES:
            by_stem[_plain(Path(name).stem)].append(name)
    return by_name, by_stem


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
