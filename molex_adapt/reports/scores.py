"""What scoring gives: a score for each recording, and what is beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.heard import Heard
from molex_adapt.data.remarks import Remark
from molex_adapt.data.table import Failed
from molex_adapt.decision import DecisionRule, Outcome
from molex_adapt.reports.thresholds import Unheard


@dataclass(frozen=True, slots=True)
class RecordingScore:
    """One recording's score: a log-likelihood ratio in nats, higher is more bona fide."""

    path: str
    score: float
    seconds: Seconds
    """Length of the recording."""
    heard: Heard | None = None
    """How much speech, how loud and in which band; None for a score from elsewhere."""
    remarks: tuple[Remark, ...] = ()
    """Where the recording lies outside what the detector learnt from."""
    decision: Outcome | None = None
    """At the generation's threshold; None where there is none."""
    probability: float | None = None
    """Of bona fide speech, at the report's prior."""
    experts: dict[str, float] = field(default_factory=dict)
    """How much each expert spoke; shares sum to 1, or to less where the frozen base keeps one."""
    lowest: float | None = None
    """The score of the window that speaks most against it; None where all of it was heard in one."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; of a remark, its sentence."""
        return {**asdict(self), "remarks": [remark.text for remark in self.remarks]}

    def loudest(self, least: float = 0.1) -> list[tuple[str, float]]:
        """The experts with at least this share, the loudest first."""
        heard = [pair for pair in self.experts.items() if pair[1] >= least]
        return sorted(heard, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class ScoreReport:
    """Scores in the order asked for, and what could not be scored."""

    scores: tuple[RecordingScore, ...]
    failed: tuple[Failed, ...] = ()
    generation: int | None = None
    threshold: float | None = None
    """Nats; at least this score reads as bona fide."""
    seconds: Seconds = 0.0
    """Wall-clock time."""
    remarks: list[str] = field(default_factory=list)
    """A line for each kind of remark that some recordings have."""
    passed_over: tuple[str, ...] = ()
    """Files beside them that hold no audio."""
    rule: DecisionRule | None = None
    """How the scores were read: prior, and the error from which on nothing is decided."""
    unheard: Unheard | None = None
    """How often the threshold calls real speech of unheard voices forged, as far as that was measured."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "scores": [item.as_dict() for item in self.scores],
            "failed": [item.as_dict() for item in self.failed],
            "passed_over": list(self.passed_over),
            "prior": None if self.rule is None else self.rule.prior,
            "most_error": None if self.rule is None else self.rule.error,
            "generation": self.generation,
            "threshold": self.threshold,
            "unheard": None if self.unheard is None else self.unheard.as_dict(),
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }
