"""Which parts of a data set are meant: `DIR#train,dev`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from molex_adapt.data.labels import split_of
from molex_adapt.data.manifest import exists
from molex_adapt.data.table import Table, with_columns
from molex_adapt.errors import DataError
from molex_adapt.text import short

MARK = "#"


def parted(data: Path | str) -> tuple[Path, tuple[str, ...]]:
    """The path, and the parts that are named behind it; a path that is there with its `#` is meant as it is."""
    path = Path(data).expanduser()
    before, mark, after = os.fspath(path).rpartition(MARK)
    if not mark or not before or exists(path) or not exists(Path(before)):
        return path, ()
    words = tuple(word.strip() for word in after.split(",") if word.strip())
    if not words:
        raise DataError(
            f"{data} names no part behind the '{MARK}'. Name some, such as {before}{MARK}train,dev."
        )
    return Path(before), words


def only(table: Table, parts: Sequence[str]) -> Table:
    """The utterances of some splits, by any word for them; all of them if there are no parts.

    One part alone is not divided, so that it can be divided anew.

    Raises:
        DataError: the data states no such split.
    """
    if not parts:
        return table
    stated = {item.split for item in table} - {None}
    for word in parts:
        if split_of(word) not in stated:
            there = ", ".join(sorted(filter(None, stated))) or "none: it states no splits"
            raise DataError(
                f"{table.root} has no part '{short(word)}'. Its parts are {there}. Name one of them behind the "
                f"'{MARK}', or leave the '{MARK}' out."
            )
    wanted = {split_of(word) for word in parts}
    kept = [item for item in table if item.split in wanted]
    if len(wanted) == 1:
        kept = with_columns(kept, split=repeat(None))
    return table.with_utterances(tuple(kept))
