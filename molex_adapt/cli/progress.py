"""Progress on stderr: a bar with time gone and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from molex_adapt.cli.terminal import terminal
from molex_adapt.progress import Progress as Listener
from molex_adapt.progress import Silent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def listening(quiet: bool) -> Iterator[Listener]:
    """A listener for the library's work; nothing of it is left on the screen's last line, whatever happens."""
    if quiet:
        yield Silent()
        return
    console = terminal(stderr=True)
    listener = Bar(console) if console.is_terminal else Lines(console)
    try:
        yield listener
    finally:
        listener.stop()


class Bar:
    """One bar at a time, on a terminal; when its task ends, a line with what it took stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total: int) -> None:
        """A task of `total` steps begins."""
        from rich.progress import (  # here, and not above: --help shows no bar
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.stop()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            expand=True,
        )
        self._task = self._bar.add_task(label, total=total)
        self._bar.start()

    def advance(self, steps: int = 1) -> None:
        """`steps` more are done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(_dim(text))

    def stop(self) -> None:
        """The task ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Lines:
    """A line when a task begins and one when it ends, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._label: str | None = None
        self._since = 0.0

    def start(self, label: str, total: int) -> None:
        """A task of `total` steps begins."""
        self.stop()
        self._label, self._since = label, time.monotonic()
        self._console.print(Text(f"{label} ({total}) ..."), soft_wrap=True)

    def advance(self, steps: int = 1) -> None:
        """Not worth a line."""

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        """The task ended."""
        if self._label is not None:
            seconds = time.monotonic() - self._since
            self._console.print(Text(f"{self._label}: {seconds:.1f} s"), soft_wrap=True)
            self._label = None


def _dim(text: str) -> Text:
    return Text(text, style="dim")
