"""What a threshold refuses of real speech."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.table import Failed
from molex_adapt.metrics import Refusals
from molex_adapt.reports.changes import Change


@dataclass(frozen=True)
class Unheard:
    """What a threshold refused of real speech by voices that it was not chosen on, when it was measured."""

    refused: float
    """Share of the recordings."""
    recordings: int
    voices: int
    generation: int
    """The one that it was measured with; later ones keep the threshold, and may refuse another share."""
    in_turn: bool = False
    """Whether these voices chose the threshold: each was then held against one that the others chose alike."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        told = f"{100 * self.refused:.1f} % of {self.recordings:,} real recordings by {self.voices} voices"
        below = (
            "were below a threshold that was chosen in the same way without them"
            if self.in_turn
            else "that it was not chosen on were below it"
        )
        return f"{told} {below}, measured with generation {self.generation}"


@dataclass(frozen=True, kw_only=True)
class ThresholdReport:
    """What another threshold does; pairs are before and after."""

    generation: int
    asked: float
    """The largest share of the real recordings that it may refuse."""
    threshold: tuple[float, float]
    """Nats."""
    refused: tuple[Refusals, Refusals]
    """Of the real recordings that it was chosen on."""
    voices: dict[str, tuple[Refusals, Refusals]]
    """The same by speaker, where there are several, and enough of each."""
    accepted: dict[str, tuple[float, float]]
    """Of forged recordings beside them, by attack; they decide nothing."""
    change: dict[str, Change]
    """Of the known domains, on the exemplars kept of them."""
    unheard: Unheard | None = None
    """Voices at thresholds that the others choose; None where fewer than two are named."""
    failed: tuple[Failed, ...] = ()
    seconds: Seconds = 0.0
    """Wall-clock time."""
    remarks: list[str] = field(default_factory=list)
    """How the speech was read, and what lay beside it."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; pairs are [before, after]."""
        return {
            "generation": self.generation,
            "asked": self.asked,
            "threshold": list(self.threshold),
            "bona_fide_refused": [item.as_dict() for item in self.refused],
            "voices": {name: [item.as_dict() for item in both] for name, both in self.voices.items()},
            "accepted": {name: list(both) for name, both in self.accepted.items()},
            "drift": {domain: item.drift() for domain, item in self.change.items()},
            "unheard": None if self.unheard is None else self.unheard.as_dict(),
            "failed": [item.as_dict() for item in self.failed],
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }
