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


class Silent:
    """A listener that hears nothing; the default of library calls."""

    def start(self, label: str, total: int) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def note(self, text: str) -> None: ...

    def stop(self) -> None: ...
