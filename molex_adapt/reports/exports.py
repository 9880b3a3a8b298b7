"""What an export gives: files, and how near and how fast they are beside their source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from molex_adapt.conventions import Seconds


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """A detector as files that other programs can run."""

    folder: str
    generation: int
    experts: list[str]
    withdrawn: list[str]
    """Those of them whose gates are closed."""
    merged: bool
    """Whether its single expert was added to the base's weights; else the routers are in the graph."""
    files: dict[str, int]
    """Bytes by name."""
    source_bytes: int
    """Of the files in the registry that it was made from; of a base from the Hub, its weights in memory."""
    checked: list[Seconds]
    """Lengths of the drawn signals that source and export were compared on."""
    difference: dict[str, float]
    """By file, the largest difference of a score from the source's, in nats."""
    audio: Seconds
    """Length of the signal that was timed."""
    runs: int
    seconds: dict[str, Seconds]
    """Median of so many runs over it, by file, and "source"; one process, the same number of threads."""
    remarks: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
