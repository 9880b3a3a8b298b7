"""One figure, the colours and heights that figures share, and whether figures can be drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molex_adapt.errors import RecipeError

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7f7f7f"
"""Of Okabe and Ito, which people with any kind of colour vision can distinguish."""
CELL = 22
"""Pixels of a row, or of a cell of a heat map, where there is room."""
INSTALL = "pip install 'molex-adapt[report]'"


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        key: its name in files and on the page.
        title, says: a heading, and what to see in it, for those too who cannot see it.
        chart: Altair's.
        table: the flat table that has its numbers.
    """

    key: str
    title: str
    says: str
    chart: Any
    table: str


def height_of(rows: int) -> int:
    """Pixels for so many rows."""
    return max(60, CELL * rows if rows <= 40 else 16 * rows)


def missing_libraries() -> list[str]:
    """What is needed to draw and is not installed."""
    from importlib.util import find_spec

    return [name for name in ("altair", "vl_convert") if find_spec(name) is None]


def require_altair() -> None:
    """Refuse before the work begins.

    Raises:
        RecipeError: Altair or vl-convert is not installed.
    """
    if missing := missing_libraries():
        raise RecipeError(
            f"a report needs {' and '.join(missing)}, which are not installed: {INSTALL}, or leave out --out"
        )
