"""Scores as a table: what is decided, how likely, and which expert spoke."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import empty_table, failures, one_line

if TYPE_CHECKING:  # as in tables.py
    from molex_adapt.reports import RecordingScore, ScoreReport

_FEWEST = 4
"""Recordings whose shared folder is worth a line of its own."""
_LEAST = 0.005
"""Share of an expert that is worth naming: it would be shown as 0 %."""
_WIDTHS = (4, 6, 4)
"""Of seconds, score and probability, at least: a narrow terminal breaks names instead."""
_READS = {
    "bona_fide": Text("bona fide", style="green"),
    "spoof": Text("spoof", style="red"),
    "cannot_tell": Text("cannot tell", style="yellow"),
}


def score_table(report: ScoreReport) -> list[RenderableType]:
    """A line per recording; with a threshold, how it reads; of remarks only their kinds, in a word each."""
    folder = _shared([item.path for item in report.scores])
    table = empty_table("Scores in nats, higher is more bona fide", "recording", "seconds", "score")
    likely = any(item.probability is not None for item in report.scores)
    spoke = any(_loudest(item) for item in report.scores)
    remarked = any(item.remarks for item in report.scores)
    if likely:
        table.add_column("p", justify="right")
    for column, width in zip(table.columns[1:], _WIDTHS, strict=False):
        column.min_width = width
    if report.threshold is not None:
        table.add_column("reads as")
    if spoke:
        table.add_column("expert")
    if remarked:
        table.add_column("remarks", style="yellow")
    for item in report.scores:
        name = one_line(item.path.removeprefix(folder))
        row: list[RenderableType] = [name, f"{item.seconds:.1f}", f"{item.score:+.2f}"]
        if likely:
            row.append("" if item.probability is None else f"{item.probability:.2f}")
        if report.threshold is not None:
            row.append(_READS[item.decision or ("bona_fide" if item.score >= report.threshold else "spoof")])
        if spoke:
            row.append(_loudest(item))
        if remarked:
            row.append(", ".join(remark.kind for remark in item.remarks))
        table.add_row(*row)
    parts: list[RenderableType] = [table, *_read(report)] if report.scores else []
    if folder:
        parts.insert(0, Text(f"Recordings in {one_line(folder)}"))
    return [*parts, *failures(report.failed)]


def _shared(paths: Sequence[str]) -> str:
    """The folder that several recordings lie in, with the slash at its end; empty where they share none."""
    folders = {Path(path).parent for path in paths}
    if len(paths) < _FEWEST or len({folder.is_absolute() for folder in folders}) > 1:
        return ""
    found = os.path.commonpath(folders)
    return f"{found}{os.sep}" if found.strip(f".{os.sep}") else ""


def _loudest(item: RecordingScore) -> str:
    """The expert with the largest share; none where the frozen base has all of it."""
    name = max(item.experts, key=item.experts.__getitem__, default="")
    share = item.experts.get(name, 0.0)
    return f"{name} {100 * share:.0f} %" if share >= _LEAST else ""


def _read(report: ScoreReport) -> list[RenderableType]:
    """How probabilities and decisions came about."""
    rule = report.rule
    if rule is None or rule.threshold is None:
        return []
    told = f"p: probability of bona fide speech at a prior of {100 * rule.prior:g} % (--prior). "
    told += f"Threshold {rule.threshold:+.2f}"
    if rule.error is not None:
        told += (
            f"; cannot tell: within {rule.band:.2f} of it, where more than {100 * rule.error:g} % would be wrong "
            "(--error), or outside what was learnt; --decide decides all"
        )
    told += "." if report.unheard is None else f". {report.unheard}."
    return [Text(told), Text()]
