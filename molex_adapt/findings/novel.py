"""What is new in recordings without labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from molex_adapt.data.table import Failed
from molex_adapt.findings.labelled import Interval


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How well recordings of an attack are found to be new when nothing of it is known."""

    attack: str
    auroc: float
    """Against all other known speech; 0.5 is chance."""
    ci: Interval
    recordings: int


@dataclass(frozen=True, slots=True)
class Unlike:
    """One recording that is unlike what is known."""

    path: str
    p: float
    """Share of known recordings that are at least as far from what is known without them."""
    distance: float
    nearest: str
    """The kind of known speech that it is nearest to."""


@dataclass(frozen=True, slots=True)
class NovelGroup:
    """Recordings that are alike in routing and spectrum."""

    recordings: int
    unlike: float
    """Share of them that is unlike anything known."""
    nearest: str
    busiest: str
    share: float
    """Mean gate of the busiest expert."""


@dataclass(frozen=True)
class Novelty:
    """What recordings without labels have in common with known speech."""

    recordings: int
    unlike: int
    """Recordings with a p-value of at most `expected`."""
    expected: float
    """Share of known speech that is called unlike anything known."""
    p: float
    """Of a binomial test: whether more are unlike than chance brings, if recordings are independent."""
    most_unlike: list[Unlike]
    families: list[NovelGroup]
    left_out: list[LeftOut]
    auroc: float | None
    """Mean over attacks that are left out; None where each has too few recordings."""
    auroc_ci: Interval | None
    """Of 1000 bootstraps over the sources of known speech."""
    known: int
    """Recordings that it is compared with."""
    sentence: str = ""
    generation: int | None = None
    failed: tuple[Failed, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        failed = [item.as_dict() for item in self.failed]
        return {
            "novelty": {**asdict(self), "failed": failed},
            "generation": self.generation,
            "failed": failed,
        }
