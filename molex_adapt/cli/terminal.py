"""A console on which texts can only be read: names of files, attacks and records may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.measure import Measurement
from rich.segment import Segment

from molex_adapt.text import visible


def terminal(*, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """Where to print: no markup, no emoji codes, and control characters shown instead of sent.

    Args:
        stderr: print there instead of on stdout.
        file: print there, whatever else.
        width: columns; as the terminal has them by default.
    """
    console = Console(stderr=stderr, file=file, width=width, highlight=False, markup=False, emoji=False)
    console.push_render_hook(_Hook())
    return console


class _Hook(RenderHook):
    """Puts every renderable behind `_Visible`."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [item if isinstance(item, Control) else _Visible(item) for item in renderables]


class _Visible:
    """A renderable whose texts are shown by `visible`."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)
