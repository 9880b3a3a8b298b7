"""Charts on one kind of speech. Their `data` is that of one attack by a name, or that of all attacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from molex_adapt.analysis.plotted import Records, ablation_rows, block_rows, det_rows, score_rows
from molex_adapt.plots.drawing import BLUE, GREY, ORANGE, Drawing, deviate_axis
from molex_adapt.reports import Analysis

_TICKS = (0.01, 0.05, 0.2, 0.5, 0.8)
"""Error rates at the axes."""
_HEIRS = ["others take over", "nobody takes over"]


_SAYS = {
    "blocks": "The brighter, the larger the mean gate.",
    "ablation": "Bars to the right: the EER rises without the expert. Lines are 95 % intervals of each bar by itself: "
    "an expert may be needed only where its line stays right of 0; a * marks what is certain among all.",
    "scores": "The dashed line is the threshold: spoofed speech right of it passes, real speech left of it is refused. "
    "The outermost bins hold all beyond.",
    "det": "Bona fide speech refused against spoofed speech accepted, at every threshold; lower is better.",
}


def details(report: Analysis) -> list[Drawing]:
    """Figures on one attack, small and side by side for all of them."""
    import altair as alt

    found = []
    for key, title, table, rows, draw in _DETAILS:
        values: Records = [row for name in report.attacks for row in rows(report, name)]
        if values:
            by = alt.Facet("speech:N", title=None, sort=report.attacks)
            chart = draw(report, alt.Data(values=values)).facet(by, columns=3)
            found.append(Drawing(key, title, _SAYS[key], chart, table))
    return found


def details_of_one(report: Analysis) -> list[Drawing]:
    """The same for one attack at a time, whose rows come in under the name "chosen"."""
    import altair as alt

    return [
        Drawing(key, title, _SAYS[key], draw(report, alt.NamedData("chosen")), table)
        for key, title, table, rows, draw in _DETAILS
        if any(rows(report, name) for name in report.attacks)
    ]


def block_map(report: Analysis, data: Any) -> Any:
    """Heat map of gates, a row per block and a column per expert."""
    import altair as alt

    return (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("expert:N", sort=report.experts, title=None, axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("block:O", title="block"),
            color=alt.Color("gate:Q", scale=alt.Scale(scheme="cividis", domain=[0, 1]), title="gate"),
            tooltip=["block:O", "expert:N", alt.Tooltip("gate:Q", format=".1%")],
        )
        .properties(
            width=max(120, min(760, 20 * len(report.experts))), height=max(80, min(420, 18 * report.blocks))
        )
    )


def ablation_bars(report: Analysis, data: Any) -> Any:
    """Change of the EER without each expert, a bar with its interval."""
    import altair as alt

    colour = alt.Color(
        "heirs:N",
        scale=alt.Scale(domain=_HEIRS, range=[BLUE, ORANGE]),
        title=None,
    )
    offset = alt.YOffset("heirs:N", sort=_HEIRS)
    base = alt.Chart(data).encode(y=alt.Y("expert:N", sort=report.experts, title=None), yOffset=offset)
    bars = base.mark_bar().encode(
        x=alt.X("points:Q", title="change of the EER, points"),
        color=colour,
        tooltip=["expert:N", "heirs:N", "points:Q", "low:Q", "high:Q"],
    )
    lines = base.mark_rule(strokeWidth=1.5, color=GREY).encode(x="low:Q", x2="high:Q")
    stars = base.mark_text(fontSize=16, dx=8, dy=4).encode(x="high:Q", text="star:N")
    return alt.layer(bars, lines, stars).properties(width=260, height=max(80, 18 * len(report.experts)))


def score_histogram(report: Analysis, data: Any) -> Any:
    """Densities of the scores of one attack and of bona fide speech, with the threshold where it is known."""
    import altair as alt

    kinds = alt.Scale(domain=["bona fide", "this attack"], range=[BLUE, ORANGE])
    base = alt.Chart(data).encode(
        x=alt.X("score:Q", title="score, nats"),
        y=alt.Y("density:Q", stack=None, title="density"),
        color=alt.Color("kind:N", scale=kinds, title=None),
        tooltip=["kind:N", "score:Q", "density:Q"],
    )
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=kinds["domain"]), title=None)
    layers = [
        base.mark_area(interpolate="step", fillOpacity=0.3),
        base.mark_line(interpolate="step").encode(strokeDash=dash),
    ]
    if report.threshold is not None:
        rule = alt.Chart(data).mark_rule(strokeDash=[4, 3], color=GREY, strokeWidth=2)
        layers.append(rule.encode(x=alt.datum(report.threshold)))
    return alt.layer(*layers).properties(width=260, height=180)


def det_curves(report: Analysis, data: Any) -> Any:
    """Misses over false alarms, on axes of normal deviates."""
    import altair as alt

    axis = deviate_axis(_TICKS)
    scale = alt.Scale(domain=[-3.1, 1.6], clamp=True)
    return (
        alt.Chart(data)
        .mark_line(color=BLUE)
        .encode(
            x=alt.X("x:Q", scale=scale, axis=axis, title="spoof accepted"),
            y=alt.Y("y:Q", scale=scale, axis=axis, title="bona fide refused"),
            order="at:Q",
        )
        .properties(width=260, height=260)
    )


_DETAILS: tuple[
    tuple[str, str, str, Callable[[Analysis, str], Records], Callable[[Analysis, Any], Any]], ...
] = (
    ("blocks", "Gates by block and expert", "usage", block_rows, block_map),
    ("ablation", "What becomes of it without an expert", "ablation", ablation_rows, ablation_bars),
    ("scores", "Scores beside those of bona fide speech", "scores", score_rows, score_histogram),
    ("det", "Error curve", "det", det_rows, det_curves),
)
