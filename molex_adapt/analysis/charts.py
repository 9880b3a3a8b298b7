"""The figures on all attacks at once, as Altair charts: for the page, and as pictures.

Heat maps have the scale "cividis" or blue against orange, lines and bars the colours of `drawing`; shapes and dashes
say the same again. Altair is imported where a chart is made: it takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from molex_adapt.analysis.change_chart import change_chart
from molex_adapt.analysis.flat import DomainChange, flat_tables
from molex_adapt.analysis.plotted import tree_rows
from molex_adapt.plots.drawing import BLUE, CELL, GREEN, ORANGE, Drawing, height_of
from molex_adapt.reports import Analysis

_WIDEST = 900
_MOST_NAMED = 20


def overview(report: Analysis, last: Sequence[DomainChange] = (), *, apart: bool = False) -> list[Drawing]:
    """Figures on all attacks at once; those without numbers are left out.

    With `apart` the two heat maps come without their numbers: they ask for data that is called like their table.
    """
    tables = {table.name: table for table in flat_tables(report, last)}

    def data(name: str) -> Any:
        import altair as alt

        return alt.NamedData(name) if apart else alt.Data(values=tables[name].records())

    makers: list[Callable[[], Drawing | None]] = [
        lambda: _usage(report, data("usage")),
        lambda: _errors(report),
        lambda: _witnesses(report, data("witnesses")) if report.findings.testimony else None,
        lambda: _ablation_map(report, data("ablation")) if "ablation" in tables else None,
        lambda: _tree(report),
        lambda: _depth(report),
        lambda: _last(last),
    ]
    return [figure for make in makers if (figure := make()) is not None]


def _usage(report: Analysis, data: Any) -> Drawing:
    import altair as alt

    # Among many experts no gate comes near 1.
    most = max(share for row in report.usage.values() for share in row.values()) or 1.0
    colour = alt.Color("gate:Q", scale=alt.Scale(scheme="cividis", domain=[0, most]), title="mean gate")
    chart = _heat_map(data, report.attacks, ("expert", report.experts), colour)
    says = (
        "Rows are kinds of speech, columns experts; the brighter, the larger the mean gate over all blocks."
    )
    if report.frozen_base:
        says += " What a row lacks of 100 % the frozen base keeps, without an expert."
    return Drawing("usage", "Which experts act for which attack", says, chart, "usage")


def _witnesses(report: Analysis, data: Any) -> Drawing:
    import altair as alt

    found = report.findings.testimony
    colour = alt.Color(
        "blamed:Q", scale=alt.Scale(scheme="cividis", domain=[0, 1]), title="likely its attack"
    )
    chart = _heat_map(data, [item.attack for item in found], ("witness", list(found[0].blamed)), colour)
    chart = chart.transform_filter("isValid(datum.blamed)")  # one witness accuses of no attack by name
    says = (
        "Rows are kinds of speech, columns the attacks that the readout's witnesses know; the brighter, the likelier a "
        "recording is by that attack, were it by one of these, all with the same prior."
    )
    return Drawing("witnesses", "Whose attack it would be", says, chart, "witnesses")


def _heat_map(data: Any, rows: Sequence[str], columns: tuple[str, Sequence[str]], colour: Any) -> Any:
    """A row per kind of speech, and a column per name of a field; the field that is coloured is a share."""
    import altair as alt

    field, names = columns
    return (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X(f"{field}:N", sort=list(names), title=field, axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("attack:N", sort=list(rows), title=None),
            color=colour,
            tooltip=["attack:N", f"{field}:N", alt.Tooltip(colour.shorthand, format=".1%")],
        )
        .properties(width=_wide(len(names)), height=height_of(len(rows)))
    )


def _errors(report: Analysis) -> Drawing | None:
    import altair as alt

    parts = {"whole": BLUE, "no experts": ORANGE, "readout alone": GREEN}
    values = []
    for name, item in report.findings.errors.items():
        rates = (item.eer, item.without_experts, item.readout_alone)
        for part, rate in zip(parts, rates, strict=True):
            low, high = item.eer_ci if part == "whole" and item.eer_ci else (rate, rate)
            if rate is not None:
                values.append({"attack": name, "part": part, "eer": rate, "low": low, "high": high})
    if not values:
        return None
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y("attack:N", sort=report.attacks, title=None),
        color=alt.Color(
            "part:N", scale=alt.Scale(domain=list(parts), range=list(parts.values())), title=None
        ),
    )
    chart = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q") + base.mark_point(
        filled=True, size=70
    ).encode(
        x=alt.X("eer:Q", axis=alt.Axis(format="%"), title="EER"),
        shape=alt.Shape("part:N", scale=alt.Scale(domain=list(parts)), title=None),
        tooltip=["attack:N", "part:N", alt.Tooltip("eer:Q", format=".1%")],
    )
    chart = chart.properties(width=480, height=height_of(len(report.findings.errors)))
    says = (
        "The EER of the whole detector with its 95 % interval, without any expert, and of the readout alone."
    )
    if any(item.eer_ci is None for item in report.findings.errors.values()):
        says += " Where there is no line, recordings are too few for an interval."
    return Drawing("errors", "What catches each attack", says, chart, "errors")


def _ablation_map(report: Analysis, data: Any) -> Drawing | None:
    import altair as alt

    changes = [item for item in report.findings.ablation if item.eer_change is not None]
    if not changes:
        return None
    most = max(0.01, *(abs(item.eer_change or 0.0) for item in changes))
    scale = alt.Scale(scheme="blueorange", domain=[-most, most], domainMid=0)
    base = (
        alt.Chart(data)
        .transform_filter("datum.gates_to == 'others' && isValid(datum.eer_change)")
        .encode(
            x=alt.X("expert:N", sort=report.experts, title="expert", axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("attack:N", sort=report.attacks, title=None),
            tooltip=["attack:N", "expert:N", alt.Tooltip("eer_change:Q", format="+.1%"), "certain:N"],
        )
    )
    colour = alt.Color("eer_change:Q", scale=scale, title="EER", legend=alt.Legend(format="+.0%"))
    stars = base.transform_filter("isValid(datum.certain)").mark_text(
        text="*", color="white", stroke="black", strokeWidth=0.7, fontSize=22, dy=6
    )
    chart = alt.layer(base.mark_rect().encode(color=colour), stars).properties(
        width=_wide(len(report.experts)), height=height_of(len({item.attack for item in changes}))
    )
    says = (
        "How much the EER rises (orange) or falls (blue) when an expert is switched off and the others take over. A * "
        "marks what is certain among all attacks and experts; the rest can be chance."
    )
    return Drawing("needed", "EER without each expert", says, chart, "ablation")


def _tree(report: Analysis) -> Drawing | None:
    import altair as alt

    clustering = report.findings.clustering
    if clustering is None:
        return None
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-0.6, len(clustering.order) - 0.4], reverse=True))
    lines, names = tree_rows(clustering)
    tree = (
        alt.Chart(alt.Data(values=lines))
        .mark_line(color=BLUE, strokeWidth=1.5)
        .encode(x=alt.X("x:Q", title="distance"), y=y, detail="join:N", order="at:Q")
    )
    leaves = (
        alt.Chart(alt.Data(values=names))
        .mark_text(align="right", dx=-6)
        .encode(x=alt.datum(0), y=y, text="speech:N")
    )
    chart = (tree + leaves).properties(width=420, height=height_of(len(names)))
    says = "Kinds of speech that are routed alike join near the left."
    if len(clustering.order) <= _MOST_NAMED:
        says += f" From top to bottom: {', '.join(clustering.order)}."
    return Drawing("families", "Which attacks are routed alike", says, chart, "distances")


def _depth(report: Analysis) -> Drawing | None:
    import altair as alt

    parts = {"information": BLUE, "distance": ORANGE, "entropy": GREEN}
    values = [
        {"block": item.block, "part": part, "value": round(value, 4)}
        for item in report.findings.depth
        for part, value in zip(parts, (item.information_bits, item.distance, item.entropy_bits), strict=True)
        if value is not None
    ]
    if not values:
        return None
    domain = alt.Scale(domain=list(parts), range=list(parts.values()))
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_line(point=alt.OverlayMarkDef(size=50))
        .encode(
            x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title="bits, or distance"),
            color=alt.Color("part:N", scale=domain, title=None),
            strokeDash=alt.StrokeDash("part:N", scale=alt.Scale(domain=list(parts)), title=None),
            tooltip=["block:O", "part:N", alt.Tooltip("value:Q", format=".2f")],
        )
        .properties(width=480, height=220)
    )
    says = "Information about the attack, mean distance between attacks, and entropy before top-k, block by block."
    return Drawing("depth", "What each block does", says, chart, "blocks")


def _last(found: Sequence[DomainChange]) -> Drawing | None:
    if not found:
        return None
    says = "The EER of every domain before and after the last expert was added, on the same recordings."
    title = "Before and after the last expert"
    return Drawing("last_expert", title, says, change_chart(found), "last_expert")


def _wide(columns: int) -> int:
    return max(120, min(_WIDEST, CELL * columns))
