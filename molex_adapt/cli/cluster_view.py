"""What work on a cluster came to: where its results are, and how fast each worker was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import empty_table, failures, one_line
from molex_adapt.text import command_line

if TYPE_CHECKING:
    from molex_adapt.reports import ClusterFeatures, ClusterScores, WorkerShare


def cluster_view(report: ClusterScores) -> list[RenderableType]:
    """A line per worker, and what failed."""
    scored = report.recordings - len(report.failed)
    written = Text(f"{scored} scores written to {report.file}")
    return [*_shares("What each worker scored", report.workers), written, *failures(report.failed)]


def features_view(report: ClusterFeatures) -> list[RenderableType]:
    """The same, and how to use the cache."""
    done = report.recordings - len(report.failed)
    return [
        *_shares("What each worker computed", report.workers),
        Text(f"Features of {done} recordings ({report.bytes / 2**20:.1f} MiB) are in {report.folder}"),
        Text(f"To train with them: MOLEX_CACHE={command_line([report.folder])} molex-adapt train ..."),
        *failures(report.failed),
    ]


def _shares(title: str, shares: Mapping[str, WorkerShare]) -> list[RenderableType]:
    if not shares:
        return []
    table = empty_table(title, "worker", "recordings", "audio, s", "busy, s", "audio/busy")
    for name, share in shares.items():
        table.add_row(
            one_line(name),
            str(share.recordings),
            f"{share.audio_seconds:.1f}",
            f"{share.busy_seconds:.1f}",
            f"{share.speed:.1f}",
        )
    return [table]
