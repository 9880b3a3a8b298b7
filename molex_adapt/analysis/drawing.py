"""One figure, and whether figures can be drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molex_adapt.errors import RecipeError


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


def require_altair() -> None:
    """Refuse before the work begins.

    Raises:
        RecipeError: Altair or vl-convert is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"a report needs {' and '.join(missing)}, which are not installed: pip install 'molex-adapt[report]', or "
            "leave out --out"
        )
