"""What a page says before the findings: a title, statements in words, and domains before and after a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from molex_adapt.analysis.change_chart import change_chart
from molex_adapt.analysis.flat import DomainChange
from molex_adapt.plots.drawing import Drawing
from molex_adapt.reports import Comparison


@dataclass(frozen=True)
class Statement:
    """A question or a heading, and what there is to say to it."""

    heading: str
    text: str


@dataclass(frozen=True)
class Preface:
    """What stands at the top of a page.

    Attributes:
        title: heading of the page.
        lead: what was done, in a sentence or two.
        statements: what it came to.
        changes: domains before and after, by the words for what they were measured on.
        remarks: how to read the changes, a paragraph each.
        attack: the one that is shown first among the figures on one attack; "" for the one with the highest EER.
    """

    title: str = "What the experts do"
    lead: str = ""
    statements: tuple[Statement, ...] = ()
    changes: Mapping[str, Comparison] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    attack: str = ""


PLAIN = Preface()
"""Of an analysis that nobody tells a story about."""


def change_drawings(preface: Preface) -> list[Drawing]:
    """A chart for each of the comparisons, in their order; all have one axis."""
    found = {words: _changes(item) for words, item in preface.changes.items()}
    highest = max((max(row.before, row.after) for rows in found.values() for row in rows), default=0.0)
    says = "The EER of every domain before and after, on the same recordings."
    return [
        Drawing(f"changes_{number}", words, says, change_chart(rows, max(highest, 0.01)), f"changes_{number}")
        for number, (words, rows) in enumerate(found.items())
    ]


def _changes(found: Comparison) -> list[DomainChange]:
    return [
        DomainChange(domain, found.before[domain].eer, found.after[domain].eer, change.interval)
        for domain, change in found.change.items()
    ]
