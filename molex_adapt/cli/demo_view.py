"""What the demonstration showed, on 80 columns: a table for each question, then the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from molex_adapt.cli.analysis_view import share_tables
from molex_adapt.cli.tables import eer_cell, empty_table, points_cell

if TYPE_CHECKING:
    from molex_adapt.demo import DemoReport

_CHANGES = ("before", "after", "change")


def demo_view(report: DemoReport) -> list[RenderableType]:
    """All of it."""
    _, _, work = report.questions
    answers = [Padding(Text(sentence), (0, 0, 1, 0)) for sentence in report.verdict.sentences]
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    return [
        *(_catching(report), _forgetting(report)),
        *share_tables(f"{work} Mean share of the gates", report.analysis),
        *answers,
        *_left_out(report),
        *_places(report),
        Text(f"Took {sum(report.seconds.values()):.0f} s ({took})", style="dim"),
    ]


def _catching(report: DemoReport) -> Table:
    title = f"{report.questions[0]} EER in %, with 95 % intervals"
    table = empty_table(title, "recordings", *_CHANGES, whole=True)
    for words, voice in report.voices.items():
        after = voice.after[report.novel]
        row = (
            eer_cell(voice.before[report.novel]),
            eer_cell(after),
            points_cell(voice.change[report.novel], after),
        )
        table.add_row(f"{words}, {after.bona_fide} + {after.spoof}", *row)
    return table


def _forgetting(report: DemoReport) -> Table:
    title = f"{report.questions[1]} The same for what it knew; null, no attack, must stay near 50"
    table = empty_table(title, "domain", *_CHANGES, whole=True)
    for words, voice in report.voices.items():
        table.add_section()
        table.add_row(Text(words, style="bold"))
        for domain, change in voice.change.items():
            if domain != report.novel:
                after = voice.after[domain]
                row = (eer_cell(voice.before[domain]), eer_cell(after), points_cell(change, after))
                table.add_row(f"  {domain}", *row)
        first, then = (100 * share for share in voice.change[report.novel].miss)
        figures = (f"{first:.1f}", f"{then:.1f}", f"{then - first:+.1f}")
        table.add_row("  real speech refused", *figures)
    return table


def _left_out(report: DemoReport) -> list[RenderableType]:
    if not report.failed:
        return []
    first = report.failed[0]
    return [Text(f"Left out: {len(report.failed)} recordings, the first {first.path} ({first.reason})")]


def _places(report: DemoReport) -> list[RenderableType]:
    registry = f"Adapted registry: {report.registry}"
    if report.page is not None:
        return [Text(f"Page: {report.page}   {registry}")]
    return [*map(Text, report.remarks), Text(registry)]
