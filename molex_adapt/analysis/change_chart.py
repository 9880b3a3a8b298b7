"""The chart of what was before and after, domain by domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molex_adapt.analysis.flat import DomainChange
from molex_adapt.plots.drawing import BLUE, GREY, ORANGE, height_of


def change_chart(found: Sequence[DomainChange], highest: float | None = None) -> Any:
    """A line for every domain, from its EER before to the one after.

    Args:
        found: the domains, from the top down.
        highest: where the axis ends, for charts that are compared with each other; None for the highest EER of this.
    """
    import altair as alt

    values = [
        {"domain": item.domain, "when": when, "eer": rate, "before": item.before, "after": item.after}
        for item in found
        for when, rate in (("before", item.before), ("after", item.after))
    ]
    when = ["before", "after"]
    scale = alt.Undefined if highest is None else alt.Scale(domain=[0, highest])
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y("domain:N", sort=[item.domain for item in found], title=None)
    )
    lines = base.mark_rule(color=GREY, strokeWidth=2).encode(x="before:Q", x2="after:Q")
    ends = base.mark_point(filled=True, size=80).encode(
        x=alt.X("eer:Q", axis=alt.Axis(format="%"), scale=scale, title="EER"),
        color=alt.Color("when:N", scale=alt.Scale(domain=when, range=[ORANGE, BLUE]), title=None),
        shape=alt.Shape("when:N", scale=alt.Scale(domain=when), title=None),
        tooltip=["domain:N", "when:N", alt.Tooltip("eer:Q", format=".1%")],
    )
    return (lines + ends).properties(width=480, height=height_of(len(found)))
