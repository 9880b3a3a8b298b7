"""Tables in Markdown."""

from __future__ import annotations


def row(cells: list[str]) -> str:
    """One row."""
    return "| " + " | ".join(cells) + " |"


def rule(columns: int) -> str:
    """What stands under a header."""
    return "|" + "---|" * columns
