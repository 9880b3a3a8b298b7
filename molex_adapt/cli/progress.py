"""Progress on stderr: a bar with time gone and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from molex_adapt.cli.terminal import terminal
from molex_adapt.processes import is_first
from molex_adapt.progress import Chapters, Silent
from molex_adapt.progress import Progress as Listener

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


@contextmanager
def listening(quiet: bool) -> Iterator[Listener]:
    """A listener for the library's work; nothing of it is left on the screen's last line, whatever happens.

    Of several processes, only the first shows where it stands.
    """
    console = terminal(stderr=True)
    listener = (
        Silent() if quiet or not is_first() else Bar(console) if console.is_terminal else Lines(console)
    )
    try:
        yield listener
    finally:
        listener.stop()


@contextmanager
def telling(quiet: bool) -> Iterator[Chapters]:
    """A listener for one long piece of work: one bar for the whole, or a line per step."""
    console = terminal(stderr=True)
    listener = Silent() if quiet else WholeBar(console) if console.is_terminal else Lines(console)
    try:
        yield listener
    finally:
        listener.stop()


class _OnTerminal:
    """A bar, and remarks above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _begin(
        self, label: str, total: float, *counts: ProgressColumn, transient: bool = False
    ) -> tuple[Progress, TaskID]:
        # Here, and not above: --help shows no bar.
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        self.stop()
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            *(*counts, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(compact=True)),
            console=self._console,
            expand=True,
            transient=transient,
        )
        task = self._bar.add_task(label, total=total)
        self._bar.start()
        return self._bar, task


class WholeBar(_OnTerminal):
    """One bar from the beginning to the end; it leaves nothing behind."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._whole, self._task = self._begin("", 1.0, transient=True)

    def step(self, label: str, number: int, count: int) -> None:
        self._whole.update(self._task, description=f"{number}/{count} {label}")

    def reach(self, share: float) -> None:
        self._whole.update(self._task, completed=share)


class Bar(_OnTerminal):
    """One bar at a time, on a terminal; when its task ends, a line with what it took stays."""

    def start(self, label: str, total: int) -> None:
        from rich.progress import MofNCompleteColumn

        _, self._task = self._begin(label, total, MofNCompleteColumn())

    def advance(self, steps: int = 1) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, steps)


class Lines:
    """A line when a step begins, and when a task begins and ends; for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._label: str | None = None
        self._since = 0.0

    def step(self, label: str, number: int, count: int) -> None:
        self.note(f"{number}/{count} {label}")

    def reach(self, share: float) -> None: ...

    def start(self, label: str, total: int) -> None:
        self.stop()
        self._label, self._since = label, time.monotonic()
        self.note(f"{label} ({total}) ...")

    def advance(self, steps: int = 1) -> None: ...

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        if self._label is not None:
            self.note(f"{self._label}: {time.monotonic() - self._since:.1f} s")
            self._label = None
