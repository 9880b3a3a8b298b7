"""What scoring by many workers gives: where the scores are, and what each worker did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.table import Failed
from molex_adapt.reports.failures import failures


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """What one worker did."""

    recordings: int = 0
    audio_seconds: Seconds = 0.0
    """Length of those that have a score."""
    busy_seconds: Seconds = 0.0
    """Wall-clock time over them, without the start."""

    def __add__(self, other: WorkerShare) -> WorkerShare:
        return WorkerShare(
            self.recordings + other.recordings,
            self.audio_seconds + other.audio_seconds,
            self.busy_seconds + other.busy_seconds,
        )

    @property
    def speed(self) -> float:
        """Seconds of audio in a second."""
        return self.audio_seconds / self.busy_seconds if self.busy_seconds else 0.0


@dataclass(frozen=True)
class ClusterScores:
    """Scores of a manifest in one table, and how they came about."""

    file: str
    """The table: Parquet, a row for each recording in the order of the manifest."""
    recordings: int
    taken_over: int = 0
    """Of them, those that an earlier run had scored."""
    failed: tuple[Failed, ...] = ()
    workers: dict[str, WorkerShare] = field(default_factory=dict)
    """By machine and process; of a worker that died, the pieces that it finished."""
    generation: int | None = None
    threshold: float | None = None
    """Nats, as in `ScoreReport`."""
    seconds: Seconds = 0.0
    """Wall-clock time, with the start of the workers."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        workers = {name: {**asdict(share), "speed": share.speed} for name, share in self.workers.items()}
        return {**asdict(self), "failed": failures(self.failed), "workers": workers}
