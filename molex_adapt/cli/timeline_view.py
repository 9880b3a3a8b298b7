"""One recording over time, on 80 columns: a line for each window, or for a few where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.paged import whole_words
from molex_adapt.cli.tables import empty_table

if TYPE_CHECKING:
    from molex_adapt.findings import Moment, Timeline

_MOST_LINES = 60
_BAR = 12


def timeline_view(report: Timeline) -> list[RenderableType]:
    """Score, parts and busiest expert over time, and the stretch that speaks most against the recording."""
    found = report.stretch
    step = -(-len(report.moments) // _MOST_LINES)
    parts = [report.moments[at : at + step] for at in range(0, len(report.moments), step)]
    scores = [_mean([item.score for item in part]) for part in parts]
    table = empty_table("Score in nats over time, higher is more bona fide")
    for name in ("from", "to", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("experts", "readout"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("busiest", no_wrap=True)
    low, high = min(scores), max(scores)
    for part, score in zip(parts, scores, strict=True):
        worst = found.begin <= (part[0].begin + part[-1].end) / 2 <= found.end
        table.add_row(
            *(f"{value:.2f}" for value in (part[0].begin, part[-1].end)),
            f"{score:+.2f}",
            Text(_bar(score, low, high), style="red" if worst else "green"),
            f"{_mean([item.experts for item in part]):+.2f}",
            f"{_mean([item.readout for item in part]):+.2f}",
            f"{whole_words(_busiest(part), 24)}{' <' if worst else ''}",
        )
    beside = "" if found.outside is None else f", {found.outside:+.2f} elsewhere"
    line = f"Speaks most against it (<): {found.begin:.2f} to {found.end:.2f} s, mean score {found.inside:+.2f}{beside}"
    parts_below = [
        item for item in report.moments if report.threshold is not None and item.score < report.threshold
    ]
    lines: list[RenderableType] = [table, Text(line)]
    if report.threshold is not None:
        share = f"{len(parts_below)} of {len(report.moments)} windows"
        lines.append(Text(f"Below the threshold of {report.threshold:+.2f}: {share}"))
    return lines


def _bar(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 1.0
    return "█" * max(1, round(_BAR * share))


def _busiest(part: Sequence[Moment]) -> str:
    totals = {name: sum(item.gates[name] for item in part) for name in part[0].gates}
    return max(totals, key=lambda name: totals[name])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
