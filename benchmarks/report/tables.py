"""Tables in Markdown, and numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, and an empty one."""
    return [_row(header), "|" + "---|" * len(header), *map(_row, rows), ""]


def spread(values: Iterable[float], form: str = "{:.2f}") -> str:
    """Smallest to largest."""
    known = sorted(values)
    low, high = form.format(known[0]), form.format(known[-1])
    return low if low == high else f"{low} to {high}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
