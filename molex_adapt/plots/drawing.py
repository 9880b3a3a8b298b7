"""One figure, what figures share, how they become pictures, and whether figures can be drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from molex_adapt.errors import RecipeError

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7f7f7f"
"""Of Okabe and Ito, which people with any kind of colour vision can distinguish."""
CELL = 22
"""Pixels of a row, or of a cell of a heat map, where there is room."""
PALETTE = ("#000000", BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
"""For up to eight lines; dashes say the same again."""
DASHES = ([1, 0], [1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2], [3, 4])
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


_SCALE = 2.0
"""Pixels of a picture for one of the page."""


def outlined(edges: Sequence[float], heights: Sequence[float]) -> list[tuple[float, float]]:
    """The middles of a histogram's bins with their heights, and its two ends.

    Steps change half-way between two points, so that without the ends the outermost bins are half as wide.
    """
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    points = list(zip(middles, heights, strict=True))
    return [(edges[0], heights[0]), *points, (edges[-1], heights[-1])] if points else []


def height_of(rows: int) -> int:
    """Pixels for so many rows."""
    return max(60, CELL * rows if rows <= 40 else 16 * rows)


def missing_libraries() -> list[str]:
    """What is needed to draw and is not installed."""
    from importlib.util import find_spec

    return [name for name in ("altair", "vl_convert") if find_spec(name) is None]


def require_altair(option: str = "--out") -> None:
    """Refuse before the work begins, and say which option asks for figures.

    Raises:
        RecipeError: Altair or vl-convert is not installed.
    """
    if missing := missing_libraries():
        raise RecipeError(
            f"a report needs {' and '.join(missing)}, which are not installed: {INSTALL}, or leave out {option}"
        )


def deviate_axis(rates: Sequence[float]) -> Any:
    """An axis of normal deviates with ticks at these rates, in per cent, as DET curves have."""
    import altair as alt
    from scipy.special import ndtri

    ticks = {round(float(ndtri(rate)), 3): f"{100 * rate:g} %" for rate in rates}
    words = "".join(f"abs(datum.value - ({at})) < 0.01 ? '{text}' : " for at, text in ticks.items())
    return alt.Axis(values=list(ticks), labelExpr=f"{words}''", labelOverlap=False)


def save_picture(chart: Any, folder: Path, name: str, legend: str = "top") -> None:
    """Write a chart as SVG and PNG on white, its legend above it or to the right."""
    import vl_convert

    spec = chart.properties(background="white").configure_legend(orient=legend).to_dict()
    (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    (folder / f"{name}.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
