"""How long work tells a caller where it stands, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for one task at a time; the command line draws a bar with time left."""

    def start(self, label: str, total: int) -> None:
        """A task of `total` steps begins."""

    def advance(self, steps: int = 1) -> None:
        """`steps` more are done."""

    def note(self, text: str) -> None:
        """Say something worth a line (a remark, a figure on the way)."""

    def stop(self) -> None:
        """The task ended."""


class Chapters(Protocol):
    """A listener for one long piece of work in several steps."""

    def step(self, label: str, number: int, count: int) -> None:
        """Step `number` of `count` begins."""

    def reach(self, share: float) -> None:
        """So much of the whole is done, from 0 to 1."""

    def note(self, text: str) -> None:
        """Say something worth a line."""


class Silent:
    """A listener that hears nothing; the default of library calls."""

    def step(self, label: str, number: int, count: int) -> None: ...

    def reach(self, share: float) -> None: ...

    def start(self, label: str, total: int) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def note(self, text: str) -> None: ...

    def stop(self) -> None: ...
