"""Which of some corpora a data set is of, by what its files and folders are called.

A corpus is called alike in many ways (ASVspoof2019-LA, `ASVspoof_2019_LA`, `ASVspoof2019.LA.cm.eval.trl.txt`), so names
are compared by their letters and digits, whole words in a row. What was renamed beyond that is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from molex_adapt.data.table import Table

_MOST_WORDS = 8


def corpora_named(names: Iterable[str], table: Table) -> list[str]:
    """Those of the names that the path of the table, or of a recording's folder, has in it; in their own order.

    Args:
        names: of corpora; of ids on the Hub (OWNER/NAME) the last part counts.
        table: as it was read.
    """
    parts = {part for folder in _folders(table) for part in folder.parts}
    called = {run for part in parts for run in _runs(_words(part))}
    return [name for name in names if "".join(_words(name.rpartition("/")[2])) in called]


def _folders(table: Table) -> set[Path]:
    """Absolute, so that a data set is known from inside its folder too."""
    return {path.absolute() for path in {Path(table.root), *(item.path.parent for item in table)}}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _runs(words: list[str]) -> set[str]:
    """Every run of neighbouring words, written as one."""
    starts = range(len(words))
    return {"".join(words[start : start + count]) for start in starts for count in range(1, _MOST_WORDS + 1)}
