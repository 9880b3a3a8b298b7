"""A figure by attack and condition, as tables with a row per attack and a column per condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from molex_adapt.cli.tables import GAP, empty_table, in_width
from molex_adapt.text import all_of


def pivot_tables(
    title: str,
    attacks: Sequence[str],
    conditions: Sequence[str],
    cell: Callable[[str | None, str | None], str],
    last: tuple[str, Callable[[str | None], str]],
) -> list[Table]:
    """One figure, in as many tables as 80 columns ask for, with a row and a column for all together.

    Args:
        title: of the first table.
        attacks, conditions: rows and columns.
        cell: what stands for an attack in a condition; None for either is all of them.
        last: what the row below is called, and what stands there for a condition.
    """
    columns: dict[str, str | None] = {**{name: name for name in conditions}, all_of(conditions): None}
    rows: dict[str, str | None] = {**{name: name for name in attacks}, all_of(attacks): None}
    cells = {
        row: {name: cell(attack, place) for name, place in columns.items()} for row, attack in rows.items()
    }
    label, below = last
    ends = {name: below(place) for name, place in columns.items()}
    widths = {
        name: max(len(name), len(ends[name]), *(len(row[name]) for row in cells.values())) for name in columns
    }
    tables: list[Table] = []
    for names in in_width(widths, max(map(len, [label, *cells])) + GAP):
        table = empty_table("The same, further conditions" if tables else title, "attack", *names, whole=True)
        for row, attack in rows.items():
            if attack is None:
                table.add_section()
            table.add_row(row, *(cells[row][name] for name in names), style=None if attack else "bold")
        table.add_row(label, *(ends[name] for name in names))
        tables.append(table)
    return tables
