"""A console on which texts can only be read: names of files, attacks and records may be anybody's."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from molex_adapt.text import visible

_STAND_INS = dict(zip("–—→…×·█▉▊▋▌▍▎▏", "-->.x-#####   ", strict=True))
"""Our own signs, where the terminal's encoding has none of them; each as wide as what it stands for."""


def open_streams() -> None:
    """Make stdout and stderr take any text, and keep the numbers of closed ones from files that are opened later."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by whoever started us: libraries would take the next opened file for it
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # help and usage errors are printed by others


def terminal(*, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """Where to print: no markup, no emoji codes; what is a control, or not in its encoding, is shown in other signs."""
    console = _Terminal(stderr=stderr, file=file, width=width, highlight=False, markup=False, emoji=False)
    console.push_render_hook(_Hook())
    return console


def fitting(text: str, encoding: str) -> str:
    """The text in signs that can be read, and that the encoding has."""
    text = visible(text)
    return text if _has(encoding, text) else "".join(_sign(sign, encoding) for sign in text)


def _sign(sign: str, encoding: str) -> str:
    return sign if _has(encoding, sign) else _STAND_INS.get(sign) or ascii(sign).strip("'")


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class _Terminal(Console):
    """Texts are made to fit before they are laid out, so that columns stay aligned."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(fitting(text, self.encoding), **how)

    def on_broken_pipe(self) -> None:
        """Leave it to the error table and to `emit`, which knows what is in force; rich would exit."""
        raise BrokenPipeError


class _Hook(RenderHook):
    """Puts every renderable behind `_Visible`."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [item if isinstance(item, Control) else _Visible(item) for item in renderables]


class _Visible:
    """A renderable whose texts are shown by `fitting`, also those that did not come as plain strings."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            text = segment.text if segment.control else fitting(segment.text, options.encoding)
            yield segment if text == segment.text else Segment(text, segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)
