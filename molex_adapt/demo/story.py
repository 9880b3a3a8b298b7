"""The demonstration as one task: its steps, and what the library's calls report within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molex_adapt.progress import Chapters


@dataclass(frozen=True)
class Step:
    """One step of the story."""

    label: str
    parts: Sequence[float]
    """What each task that is reported within it takes, in order; seconds on two cores, of which only the proportions
    matter. The last one is what follows them."""


class Story:
    """Hears the library's tasks one by one, and tells a listener how much of the whole is done."""

    def __init__(self, listener: Chapters, steps: Sequence[Step]) -> None:
        self._listener = listener
        self._steps = steps
        self._all = sum(sum(step.parts) for step in steps)
        self._step, self._part, self._total, self._done = -1, -1, 1, 0

    def enter(self) -> None:
        """The next step begins."""
        self._step, self._part, self._done = self._step + 1, -1, 0
        self._listener.step(self._steps[self._step].label, self._step + 1, len(self._steps))
        self._tell()

    def start(self, label: str, total: int) -> None:
        self._part, self._total, self._done = self._part + 1, max(1, total), 0
        self._tell()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        self._tell()

    def note(self, text: str) -> None:
        self._listener.note(text)

    def stop(self) -> None:
        self._done = self._total
        self._tell()

    def _tell(self) -> None:
        parts = self._steps[self._step].parts
        before = sum(sum(step.parts) for step in self._steps[: self._step]) + sum(parts[: max(0, self._part)])
        now = parts[self._part] if 0 <= self._part < len(parts) else 0.0
        self._listener.reach((before + now * min(1.0, self._done / self._total)) / self._all)
