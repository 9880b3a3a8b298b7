"""Pages and cards from templates, in which every value is escaped without being asked for.

A template lies beside the module that fills it and ends in what it makes: in `.html.j2` Jinja2 escapes values, in
`.md.j2` `molex_adapt.text.markdown` does. There, filters say where a value is no prose: `code` puts it in backticks,
`inert` leaves it as it is inside a fence, `quoted` makes a Python text of it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from molex_adapt.text import code, inert, markdown

if TYPE_CHECKING:  # every command passes here, and few make a page
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: its path below the package, such as "registry/expert.md.j2".
        values: by the names that it knows them by; one that is missing is an error, not an empty text.
    """
    kind = template.removesuffix(".j2").rpartition(".")[2]
    return _environment(kind).get_template(template).render(**values)


@cache
def _environment(kind: str) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    found = Environment(
        loader=PackageLoader("molex_adapt", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"percent": percent, "points": points, "figure": figure}
    if kind == "md":
        # What `finalize` returns as Markup is escaped already, and Jinja2 leaves it alone.
        found.finalize = lambda value: value if isinstance(value, Markup) else Markup(markdown(value))
        for name, write in {"code": code, "inert": inert, "prose": markdown, "quoted": _quoted}.items():
            found.filters[name] = lambda value, write=write: Markup(write(value))
    return found


def markup(text: str) -> Markup:
    """A text that is markup already and goes into a page as it is."""
    from markupsafe import Markup

    return Markup(text)


def percent(rate: Any) -> str:
    """A rate for display; a question mark where there is none."""
    return f"{100 * rate:.1f}" if isinstance(rate, int | float) else "?"


def points(change: Any) -> str:
    """A change of a rate for display, with its sign."""
    return f"{100 * change:+.1f}" if isinstance(change, int | float) else "?"


def figure(value: Any) -> str:
    """A cost or a number of bits for display."""
    return f"{value:.3f}" if isinstance(value, int | float) else "?"


def _quoted(text: Any) -> str:
    return json.dumps(inert(text))
