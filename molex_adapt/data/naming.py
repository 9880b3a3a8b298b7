"""Names of one recording in several files: with and without folders and suffix, in any Unicode form."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from molex_adapt.data.containers import AUDIO_SUFFIXES

_MOST_PARTS = 4


def meet(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """For each name, the place of the other that is called the same; None where none is, or more than one.

    They are called the same if they are equal, or else by the fewest last parts of their paths, without a suffix of
    audio, that tell all of either apart.

    Args:
        names, others: unique in themselves.
    """
    place = {name: at for at, name in enumerate(others)}
    exact = [place.get(name) for name in names]
    if None not in exact:
        return exact
    best = exact
    for parts in range(1, _MOST_PARTS + 1):
        own, theirs = ([_tail(name, parts) for name in some] for some in (names, others))
        if len(set(own)) == len(own) and len(set(theirs)) == len(theirs):
            place = {name: at for at, name in enumerate(theirs)}
            found = [place.get(name) for name in own]
            best = max(best, found, key=lambda places: len(places) - places.count(None))
    return best


def _tail(name: str, parts: int) -> str:
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))
    stem = path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
    return "/".join(stem.parts[-parts:])
