"""What work by many workers gives: where its results are, and what each worker did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.table import Failed


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """What one worker did."""

    recordings: int = 0
    audio_seconds: Seconds = 0.0
    """Length of what was scored, or made into features."""
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
        return {
            **asdict(self),
            "failed": [item.as_dict() for item in self.failed],
            "workers": _workers(self.workers),
        }


@dataclass(frozen=True)
class ClusterFeatures:
    """Prefix features of a data set in a cache, and how they came about."""

    folder: str
    """The cache: what MOLEX_CACHE has to name where they are used."""
    recordings: int
    bytes: int
    """Of all features and pooled states; of files that are the same there is one."""
    failed: tuple[Failed, ...] = ()
    workers: dict[str, WorkerShare] = field(default_factory=dict)
    """By machine and process; of a worker that died, the pieces that it finished."""
    seconds: Seconds = 0.0
    """Wall-clock time, with the start of the workers."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "failed": [item.as_dict() for item in self.failed],
            "workers": _workers(self.workers),
        }


def _workers(shares: Mapping[str, WorkerShare]) -> dict[str, Any]:
    return {name: {**asdict(share), "speed": share.speed} for name, share in shares.items()}
