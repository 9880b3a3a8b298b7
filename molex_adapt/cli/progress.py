"""Progress on stderr: a bar with time gone and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from molex_adapt.cli.terminal import terminal
from molex_adapt.progress import Chapters, Silent
from molex_adapt.progress import Progress as Listener

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


@contextmanager
def telling(quiet: bool) -> Iterator[Chapters]:
    """A listener for one long piece of work: one bar for the whole, or a line per step."""
    if quiet:
        yield Silent()
        return
    console = terminal(stderr=True)
    listener = WholeBar(console) if console.is_terminal else StepLines(console)
    try:
        yield listener
    finally:
        listener.stop()


class WholeBar:
    """One bar from the beginning to the end; it leaves nothing behind."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def step(self, label: str, number: int, count: int) -> None:
        """Step `number` of `count` begins."""
        self._bar.update(self._task, description=f"{number}/{count} {label}")

    def reach(self, share: float) -> None:
        """So much of the whole is done, from 0 to 1."""
        self._bar.update(self._task, completed=share)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(_dim(text))

    def stop(self) -> None:
        """The work ended."""
        self._bar.stop()


class StepLines:
    """A line when a step begins, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, label: str, number: int, count: int) -> None:
        """Step `number` of `count` begins."""
        self._console.print(Text(f"{number}/{count} {label}"), soft_wrap=True)

    def reach(self, share: float) -> None:
        """Not worth a line."""

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        """The work ended."""


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
