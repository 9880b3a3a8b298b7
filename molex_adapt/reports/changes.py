"""What training did to each domain: figures before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.table import Failed
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.reports.figures import figures


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation did to one domain, on the same utterances before and after."""

    eer: float
    """After minus before; negative is better."""
    interval: tuple[float, float]
    """Paired bootstrap interval of `eer`, drawn over voices or source recordings."""
    miss: tuple[float, float]
    """Bona fide speech refused at the frozen threshold, before and after."""
    false_alarm: tuple[float, float]
    """Spoofed speech accepted at the frozen threshold, before and after."""
    bona_fide_shift: float
    """Mean score of bona fide speech, after minus before, in nats."""
    spoof_shift: float
    """Mean score of spoofed speech, after minus before, in nats."""
    voices: int | None = None
    """How many the interval was drawn over; None: over source recordings."""

    def most_risen(self, rates: Rates) -> float:
        """By how much the EER may have risen, of a domain that was measured on as many recordings as `rates` say.

        Where no recording changes sides a bootstrap has nothing to draw. Three in all may still do.

        Source: the interval's end, and Hanley & Lippman-Hand (1983), "If nothing goes wrong, is everything all right?".
        """
        return max(self.interval[1], 3 / min(rates.bona_fide, rates.spoof))

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"eer": self.eer, "eer_ci": list(self.interval), **self.drift()}

    def drift(self) -> dict[str, Any]:
        """All but the EER, as JSON values; pairs are [before, after]."""
        return {
            "miss": list(self.miss),
            "false_alarm": list(self.false_alarm),
            "bona_fide_shift": self.bona_fide_shift,
            "spoof_shift": self.spoof_shift,
        }


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much an expert lowers the loss of recordings that were not trained on, both classes with the same weight.

    Attributes:
        nats: the mean over recordings.
        error: half of its interval, 95 %; nats.
        count, units: what was counted, and how many of them.
        eer: of these recordings without the expert, and with it.
    """

    nats: float
    error: float
    count: int
    units: str
    eer: tuple[float, float]

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean; nats."""
        return self.nats - self.error, self.nats + self.error

    @property
    def is_certain(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval[0] > 0

    def __str__(self) -> str:
        """In nats, for reports."""
        low, high = self.interval
        return f"{self.nats:.3f} nats [{low:+.3f}, {high:+.3f}] over {self.count} {self.units}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        ends = [end if math.isfinite(end) else None for end in self.interval]
        return {
            "nats": self.nats,
            "ci": ends,
            "count": self.count,
            "units": self.units,
            "eer": list(self.eer),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Domains before and after an operation, on the same recordings."""

    before: dict[str, Rates]
    after: dict[str, Rates]
    change: dict[str, Change] = field(default_factory=dict)
    novel: str | None = None
    """The domain that an expert was added for; None where none was added to others."""
    tolerance: float = 0.0
    """By how much an EER may rise. A domain that may have risen by more has not held for certain."""
    real_speech: RefusalsChange | None = None
    """Bona fide speech of all these domains that the frozen threshold refuses; None where it was not measured."""
    voices: dict[str, RefusalsChange] = field(default_factory=dict)
    """The same of every voice that is known and that there is enough of."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "bona_fide_refused": None if self.real_speech is None else self.real_speech.as_dict(),
            "bona_fide_refused_by_voice": {name: item.as_dict() for name, item in self.voices.items()},
            "before": _figures(self.before),
            "after": _figures(self.after),
            "change": {
                name: {"eer": item.eer, "eer_ci": list(item.interval), "voices": item.voices}
                for name, item in self.change.items()
            },
            "drift": {domain: item.drift() for domain, item in self.change.items()},
        }


@dataclass(frozen=True, kw_only=True)
class StageReport(Comparison):
    """What training (`train`, `add-expert`, `retrain-router`) came to, domain by domain."""

    expert: str | list[str]
    """The new expert, or several, or an empty list where none is new."""
    generation: int
    activated: bool
    """Whether that generation is the active one now; if not, `refused` says why."""
    seconds: dict[str, Seconds] = field(default_factory=dict)
    """Of the stages `readout`, `expert` and `router`, and of measuring: `evaluate`."""
    failed: tuple[Failed, ...] = ()
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    """Old domains without anything left to measure on."""
    withdrawn: bool = False
    """Whether the new expert is kept with closed gates, for it did harm or brought nothing certain; `remarks` says."""
    gain: Gain | None = None
    """What a single new expert brought beside the readout, on the development split; None where that was not asked."""
    training: dict[str, Any] = field(default_factory=dict)
    """How each stage went: steps, best step, losses; JSON values."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "expert": self.expert,
            "generation": self.generation,
            "activated": self.activated,
            **super().as_dict(),
            "seconds": dict(self.seconds),
            "failed": [item.as_dict() for item in self.failed],
            "remarks": list(self.remarks),
            "refused": list(self.refused),
            "not_measured": list(self.not_measured),
            "withdrawn": self.withdrawn,
            "gain": None if self.gain is None else self.gain.as_dict(),
            "training": dict(self.training),
        }


def _figures(rates: Mapping[str, Rates]) -> dict[str, Any]:
    return {name: figures(item) for name, item in rates.items()}
