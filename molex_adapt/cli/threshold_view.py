"""Another threshold as tables: what it refuses and accepts, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import MOST_LISTED, drift_table, empty_table, failures, pairs
from molex_adapt.text import all_of

if TYPE_CHECKING:  # as in tables.py
    from molex_adapt.metrics import Refusals
    from molex_adapt.reports import ThresholdReport


def threshold_tables(report: ThresholdReport) -> list[RenderableType]:
    """The threshold, the speech that it was chosen on by voice, forged recordings beside it, the known domains."""
    before, after = report.threshold
    summary = pairs(
        f"Generation {report.generation} has another threshold and is active",
        {
            "threshold in nats": f"{before:+.3f} → {after:+.3f}",
            "to refuse at most": f"{100 * report.asked:g} %",
        },
    )
    table = empty_table("Bona fide speech refused, in % (95 %)", "speech", "recordings", "before", "after")
    for name, both in [(all_of(report.voices), report.refused), *_worst_first(report.voices)[:MOST_LISTED]]:
        table.add_row(name, str(both[0].bona_fide), *map(_cell, both))
    parts: list[RenderableType] = [summary, table]
    if len(report.voices) > MOST_LISTED:
        parts.append(f"... and {len(report.voices) - MOST_LISTED} more voices: --json lists all")
    if report.accepted:
        forged = empty_table("Forged recordings accepted, in %", "attack", "before", "after")
        for attack, shares in report.accepted.items():
            forged.add_row(attack, *(f"{100 * share:.1f}" for share in shares))
        parts.append(forged)
    if report.unheard is not None:
        parts.append(Text(f"Of voices that it has not met: {report.unheard}."))
    return [*parts, *drift_table(report.change), *failures(report.failed)]


def _worst_first(voices: dict[str, tuple[Refusals, Refusals]]) -> list[tuple[str, tuple[Refusals, Refusals]]]:
    return sorted(voices.items(), key=lambda item: -item[1][1].rate)


def _cell(refusals: Refusals) -> str:
    low, high = refusals.ci
    return f"{100 * refusals.rate:.1f} ({100 * low:.1f}–{100 * high:.1f})"
