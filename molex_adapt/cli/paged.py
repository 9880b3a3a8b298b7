"""Tables of 80 columns with a row for each of some names; what is too wide goes on in a further table or line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from molex_adapt.cli.tables import GAP, empty_table, in_width, one_line
from molex_adapt.text import visible

NARROWEST = 8
"""Cells of a column at least, which a share with its bar takes."""
_NAME = 16
"""Cells of a name, beyond which it goes on in a further line."""
_LONGEST_WORD = 16


def paged(
    title: str,
    rows: tuple[str, Sequence[str]],
    columns: Sequence[str],
    cell: Callable[[str, str], Text],
    last: tuple[str, Mapping[str, str]] = ("", {}),
) -> list[Table]:
    """A table, or several of 80 columns; `rows` are their heading and names, `last` a column of all of them."""
    names = {name: whole_words(name) for name in rows[1]}
    beside = max(map(_width, [rows[0], *names.values()])) + GAP
    if last[1]:
        beside += max(map(_width, [last[0], *last[1].values()])) + GAP
    shown, pages = _laid_out({name: name for name in columns}, beside)
    if len(pages) > 1:
        shown, pages = _laid_out({name: whole_words(name, NARROWEST + 2) for name in columns}, beside)
    tables: list[Table] = []
    for at, page in enumerate(pages):
        table = empty_table(title if at == 0 else "The same, continued")
        table.add_column(rows[0], overflow="fold")
        add_figures(table, *(shown[name] for name in page), *([last[0]] if last[1] else []))
        for name, text in names.items():
            ends = [last[1].get(name, "")] if last[1] else []
            table.add_row(text, *(cell(name, expert) for expert in page), *ends)
        tables.append(table)
    return tables


def whole_words(name: str, width: int = _NAME) -> str:
    """A name in lines of at most `width` cells, broken between its words; a word that is longer stays whole.

    Only a word of more than 16 cells is broken itself. Nothing is left out: names may differ at their ends alone.
    """
    lines = [""]
    for part in re.findall(r".+?(?:[-_./+, ]|$)", one_line(visible(name))):
        for word in chop_cells(part, _LONGEST_WORD):
            if lines[-1] and cell_len(lines[-1]) + cell_len(word) > width:
                lines.append("")
            lines[-1] += word
    return "\n".join(lines)


def add_figures(table: Table, *names: str) -> None:
    """Columns of figures, which go on in a further line where there is no room: one that is cut is a wrong one."""
    for name in names:
        table.add_column(name, justify="right", overflow="fold")


def _laid_out(shown: dict[str, str], beside: int) -> tuple[dict[str, str], list[list[str]]]:
    widths = {name: max(NARROWEST, _width(text)) for name, text in shown.items()}
    return shown, in_width(widths, beside)


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))
