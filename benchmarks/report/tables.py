"""Tables in Markdown, and numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, and an empty one."""
    return [_row(header), "|" + "---|" * len(header), *map(_row, rows), ""]


def several(values: Iterable[float], sign: bool = False) -> str:
    """Median of fractions in per cent, and all of them in brackets where there is more than one; – for none."""
    known = [100 * value for value in values]
    if not known:
        return "–"
    form = "{:+.1f}" if sign else "{:.1f}"
    middle = form.format(median(known))
    return middle if len(known) == 1 else f"{middle} ({', '.join(form.format(value) for value in known)})"


def spread(values: Iterable[float], form: str = "{:.2f}") -> str:
    """Smallest to largest."""
    known = sorted(values)
    low, high = form.format(known[0]), form.format(known[-1])
    return low if low == high else f"{low} to {high}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
