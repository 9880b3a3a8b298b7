"""One recording over time, window by window."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from molex_adapt.conventions import Seconds


@dataclass(frozen=True, slots=True)
class Moment:
    """One window of a recording."""

    begin: Seconds
    end: Seconds
    score: float
    experts: float
    """What the experts add to the score, nats."""
    readout: float
    """What the readout adds, nats."""
    gates: dict[str, float]
    """Mean gates over frames and blocks."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, and the mean score of what lies in it and outside it."""

    begin: Seconds
    end: Seconds
    inside: float
    outside: float | None
    """None where nothing lies outside."""


@dataclass(frozen=True)
class Timeline:
    """What the detector makes of one recording, window by window."""

    path: str
    seconds: Seconds
    moments: list[Moment]
    stretch: Stretch
    """What speaks most against the recording being bona fide."""
    threshold: float | None = None
    generation: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
