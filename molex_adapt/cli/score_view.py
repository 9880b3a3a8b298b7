"""Scores as a table: what is decided, how likely, and which expert spoke."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.tables import empty_table, failures, one_line

if TYPE_CHECKING:  # as in tables.py
    from molex_adapt.reports import RecordingScore, ScoreReport

_READS = {
    "bona_fide": Text("bona fide", style="green"),
    "spoof": Text("spoof", style="red"),
    "cannot_tell": Text("cannot tell", style="yellow"),
}


def score_table(report: ScoreReport) -> list[RenderableType]:
    """A line per recording; with a threshold, how it reads; of remarks only their kinds, in a word each."""
    table = empty_table("Scores in nats, higher is more bona fide", "recording", "seconds", "score")
    likely = any(item.probability is not None for item in report.scores)
    spoke = any(item.experts for item in report.scores)
    remarked = any(item.remarks for item in report.scores)
    if likely:
        table.add_column("p", justify="right")
    if report.threshold is not None:
        table.add_column("reads as")
    if spoke:
        table.add_column("expert")
    if remarked:
        table.add_column("remarks", style="yellow")
    for item in report.scores:
        row: list[RenderableType] = [one_line(item.path), f"{item.seconds:.1f}", f"{item.score:+.2f}"]
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
    return [*parts, *failures(report.failed)]


def _loudest(item: RecordingScore) -> str:
    """The expert with the largest share."""
    if not item.experts:
        return ""
    name = max(item.experts, key=item.experts.__getitem__)
    return f"{name} {100 * item.experts[name]:.0f} %"


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
