"""What scoring on a cluster came to: where the scores are, and how fast each worker was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import empty_table, failures, one_line

if TYPE_CHECKING:
    from molex_adapt.reports import ClusterScores


def cluster_view(report: ClusterScores) -> list[RenderableType]:
    """A line per worker, and what failed."""
    parts: list[RenderableType] = []
    if report.workers:
        table = empty_table(
            "What each worker scored", "worker", "recordings", "audio, s", "busy, s", "audio/busy"
        )
        for name, share in report.workers.items():
            table.add_row(
                one_line(name),
                str(share.recordings),
                f"{share.audio_seconds:.1f}",
                f"{share.busy_seconds:.1f}",
                f"{share.speed:.1f}",
            )
        parts.append(table)
    scored = report.recordings - len(report.failed)
    return [*parts, Text(f"{scored} scores written to {report.file}"), *failures(report.failed)]
