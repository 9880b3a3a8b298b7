"""What callers hand over, checked before any work begins: data, names, devices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from molex_adapt.conventions import BONA_FIDE, NAME_PATTERN, SPLITS
from molex_adapt.data import Table, Utterance, find_audio, read
from molex_adapt.errors import DataError
from molex_adapt.train.prepare import DomainData

Data: TypeAlias = Table | Path | str
"""A folder, manifest or protocol by its path, or a table."""


def table_of(data: Data) -> Table:
    """The table itself, or what is read from the path."""
    return data if isinstance(data, Table) else read(data)


def recordings(inputs: Sequence[Path | str] | Path | str) -> Table:
    """Files, and the audio files of folders, as a table without truth.

    Raises:
        DataError: nothing is there to score.
    """
    named = [inputs] if isinstance(inputs, Path | str) else list(inputs)
    paths: list[Path] = []
    for item in map(Path, named):
        paths += find_audio(item) if item.is_dir() else [item]
    if not paths:
        shown = ", ".join(map(str, named)) or "nothing was named"
        raise DataError(f"no recordings to score ({shown}); name audio files, or folders that hold some")
    return Table(tuple(Utterance(path, BONA_FIDE, source=str(path)) for path in paths), "the command line")


def check_name(name: str, what: str) -> str:
    """A name that is safe as a file's and a repository's.

    Raises:
        DataError: it is none.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise DataError(
            f"{what} name {name!r} cannot be used; names have 1 to 64 of a-z 0-9 _ . - and start with a letter or "
            "digit. Choose such a name"
        )
    return name


def by_attack(whole: DomainData) -> dict[str, DomainData]:
    """One domain per attack, named after it in lower case, each with all bona fide speech.

    Raises:
        DataError: an attack cannot be a name, or is missing from a split.
    """
    domains: dict[str, DomainData] = {}
    for attack in whole.table.attacks:
        name = check_name(attack.lower(), "attack")
        if name in domains:
            raise DataError(f"attacks {name!r} and {attack!r} differ in case only; give them different names")
        domain = whole.of_attack(attack)
        missing = [split for split in SPLITS if bool(getattr(domain, split).bona_fide.all())]
        if missing:
            raise DataError(
                f"attack {attack!r} has no usable recordings for {' and '.join(missing)}; each attack is trained on "
                "and measured by itself and needs some in every split. Add recordings, state other splits in a "
                "manifest, or let experts share the data (molex-adapt train --experts N)"
            )
        domains[name] = domain
    return domains
