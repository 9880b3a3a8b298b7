"""Two generations side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.data.table import Failed
from molex_adapt.findings.labelled import Interval


@dataclass(frozen=True, slots=True)
class Handover:
    """What the experts that one generation has and another has not took over for one attack."""

    attack: str
    new: dict[str, float]
    """Mean gate of each new expert."""
    lost: dict[str, float]
    """How much smaller the mean gate of each old expert is; below 0, larger. Experts that went lost all of theirs."""
    eer: tuple[float, float] | None = None
    """In the older and in the newer generation; None where no recordings were scored, and for bona fide speech."""
    eer_ci: Interval | None = None
    """Of the newer one's minus the older one's, on the same recordings; None also where they are fewer than ten of
    either class."""
    mean_score: tuple[float, float] | None = None
    """In the older and in the newer generation, nats."""

    @property
    def took(self) -> float:
        """Gate mass that moved to new experts."""
        return sum(self.new.values())


@dataclass(frozen=True)
class Handovers:
    """Two generations side by side, attack by attack."""

    older: int
    newer: int
    added: list[str]
    removed: list[str]
    attacks: list[Handover]
    failed: tuple[Failed, ...] = ()
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "attacks": [{**asdict(item), "took": item.took} for item in self.attacks],
            "failed": [item.as_dict() for item in self.failed],
        }
