"""Charts of an evaluation: DET curves, Bayes error over the prior, reliability, and how the scores lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molex_adapt.metrics import ASVSPOOF5, EvaluationCurves
from molex_adapt.plots.drawing import BLUE, DASHES, GREY, ORANGE, PALETTE, deviate_axis, outlined
from molex_adapt.reports import EvaluationReport
from molex_adapt.text import all_of

_SIZE = 420
_RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
_LEAST = 5e-4
"""Error rates on the axes of a DET curve; 0 and 1 have no normal deviate."""
_MOST_CURVES = len(PALETTE) - 1


@dataclass(frozen=True)
class Plot:
    """One chart of Altair's, the name of its files, and all of its numbers."""

    name: str
    chart: Any
    columns: Sequence[str]
    rows: list[list[Any]]


def evaluation_plots(report: EvaluationReport, curves: EvaluationCurves) -> list[Plot]:
    """All charts; that of reliability needs scores that hold both classes in one place."""
    plots = [_det(report, curves), _bayes_error(curves), _scores(report, curves)]
    return [*plots, *([_reliability(curves)] if curves.reliability else [])]


def _det(report: EvaluationReport, curves: EvaluationCurves) -> Plot:
    """All spoofs and each attack; of many attacks, those with the highest EER are drawn."""
    import altair as alt

    rates = {"": report.overall, **report.by_attack}
    hardest = sorted(report.by_attack, key=lambda name: -rates[name].eer)[:_MOST_CURVES]
    together = all_of(report.by_attack)
    named = {name: f"{name or together}  {100 * rates[name].eer:.1f} %" for name in ("", *hardest)}
    lines = {
        label: [(_deviate(false_alarm), _deviate(miss)) for false_alarm, miss in curves.det[name]]
        for name, label in named.items()
    }
    values = [
        {"curve": label, "at": at, "x": across, "y": up}
        for label, line in lines.items()
        for at, (across, up) in enumerate(line)
    ]
    points = [
        {"curve": label, "x": _deviate(rates[name].eer), "y": _deviate(rates[name].eer)}
        for name, label in named.items()
    ]
    high = max(0.0, max(_deviate(rates[name].eer) for name in named) + 0.9)
    floor = _deviate(0)
    shown = [min(pair) for line in lines.values() for pair in line if max(pair) <= high and min(pair) > floor]
    low = min(shown, default=floor) - 0.1
    scale, axis = alt.Scale(domain=[low, high], nice=False), deviate_axis(_RATES)
    x = alt.X("x:Q", scale=scale, axis=axis, title="spoofed speech accepted")
    y = alt.Y("y:Q", scale=scale, axis=axis, title="bona fide speech refused")
    labels = list(named.values())
    left_out = len(report.by_attack) - len(hardest)
    colour = alt.Color(
        "curve:N",
        title=["attack, EER", f"(hardest {len(hardest)} of {len(report.by_attack)})"]
        if left_out
        else "attack, EER",
        sort=labels,
        scale=alt.Scale(domain=labels, range=list(PALETTE[: len(labels)])),
        legend=alt.Legend(symbolStrokeWidth=2.5, symbolSize=300, symbolType="stroke"),
    )
    dash = alt.StrokeDash(
        "curve:N",
        title=None,
        sort=labels,
        scale=alt.Scale(domain=labels, range=list(DASHES[: len(labels)])),
        legend=None,
    )
    diagonal = (
        alt.Chart(alt.Data(values=[{"x": low, "y": low}, {"x": high, "y": high}]))
        .mark_line(color=GREY, strokeWidth=1, strokeDash=[2, 4])
        .encode(x=x, y=y)
    )
    drawn = (
        alt.Chart(alt.Data(values=values))
        .mark_line(clip=True, strokeWidth=2)
        .encode(x=x, y=y, color=colour, strokeDash=dash, order="at:Q", detail="curve:N")
    )
    marks = (
        alt.Chart(alt.Data(values=points))
        .mark_point(filled=True, size=50, clip=True)
        .encode(x=x, y=y, color=colour)
    )
    chart = _titled(
        alt.layer(diagonal, drawn, marks),
        "Detection error trade-off",
        f"{report.overall.bona_fide} bona fide, {report.overall.spoof} spoofed; dots are EERs, lower left is better",
    ).properties(width=_SIZE, height=_SIZE)
    rows = [[name or together, *pair] for name, pairs in curves.det.items() for pair in pairs]
    return Plot("det", chart, ("attack", "false_alarm", "miss"), rows)


def _bayes_error(curves: EvaluationCurves) -> Plot:
    """How many decisions are wrong if the scores are believed, against the best threshold and against not listening."""
    import math

    import altair as alt

    rows = [
        [odds, actual, least, min(1 / (1 + math.exp(-odds)), 1 / (1 + math.exp(odds)))]
        for odds, actual, least in curves.bayes_error
    ]
    kinds = ("as scored", "best threshold", "without listening")
    values = [
        {"kind": kind, "odds": row[0], "rate": rate}
        for row in rows
        for kind, rate in zip(kinds, row[1:], strict=True)
    ]
    most = 1.15 * max(max(row[1:3]) for row in rows)
    x = alt.X("odds:Q", title="prior log odds of bona fide speech, costs included", axis=alt.Axis(grid=False))
    y = alt.Y(
        "rate:Q",
        title="wrong decisions",
        axis=alt.Axis(format="~%"),
        scale=alt.Scale(domain=[0, max(most, 0.01)]),
    )
    lines = _lines(values, kinds, (BLUE, ORANGE, GREY), x, y)
    rule = (
        alt.Chart(alt.Data(values=[{"odds": -ASVSPOOF5.bayes_threshold, "kind": "prior of ASVspoof 5"}]))
        .mark_rule(color="#000000", strokeDash=[2, 3])
        .encode(x="odds:Q")
    )
    chart = _titled(
        alt.layer(rule, lines),
        "Calibration: Bayes error rate",
        "The gap between the first two is what calibration costs; dotted: the prior of ASVspoof 5",
    ).properties(width=_SIZE, height=0.7 * _SIZE)
    return Plot("calibration", chart, ("prior_log_odds", "actual", "minimum", "default"), rows)


def _reliability(curves: EvaluationCurves) -> Plot:
    """The log-likelihood ratio that the labels show at each score, beside the score itself."""
    import altair as alt

    rows = [list(pair) for pair in curves.reliability]
    every = [value for row in rows for value in row]
    room = 0.04 * (max(every) - min(every))
    low, high = min(every) - room, max(every) + room
    kinds = ("labels show", "perfect")
    values = [{"kind": kinds[0], "score": score, "ratio": ratio} for score, ratio in rows]
    values += [{"kind": kinds[1], "score": edge, "ratio": edge} for edge in (low, high)]
    scale = alt.Scale(domain=[low, high])
    x = alt.X("score:Q", title="score, nats", scale=scale)
    y = alt.Y("ratio:Q", title="log-likelihood ratio that the labels show, nats", scale=scale)
    chart = _titled(
        _lines(values, kinds, (BLUE, GREY), x, y),
        "Reliability of the scores",
        "By pool-adjacent-violators; below the diagonal scores promise more bona fide speech than there is",
    ).properties(width=_SIZE, height=_SIZE)
    return Plot("reliability", chart, ("score", "log_likelihood_ratio"), rows)


def _scores(report: EvaluationReport, curves: EvaluationCurves) -> Plot:
    """Densities of both classes, with the thresholds that decide."""
    import altair as alt

    bins = list(zip(curves.edges, curves.edges[1:], strict=False))
    counts = {"bona fide": curves.bona_fide, "spoofed": curves.spoof}
    values = [
        {"kind": kind, "score": score, "density": density}
        for kind, own in counts.items()
        for score, density in outlined(
            curves.edges,
            [count / sum(own) / (high - low) for (low, high), count in zip(bins, own, strict=True)],
        )
    ]
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=list(counts), range=[BLUE, ORANGE]))
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("score:Q", title="score, nats"),
        y=alt.Y("density:Q", title="density", stack=None),
        color=colour,
    )
    at = {"Bayes threshold of ASVspoof 5": ASVSPOOF5.bayes_threshold}
    if report.threshold is not None:
        at["threshold"] = report.threshold
    rules = (
        alt.Chart(alt.Data(values=[{"line": name, "score": value} for name, value in at.items()]))
        .mark_rule(color="#000000")
        .encode(
            x="score:Q",
            strokeDash=alt.StrokeDash(
                "line:N", title=None, scale=alt.Scale(domain=list(at), range=[[2, 3], [8, 4]][: len(at)])
            ),
        )
    )
    chart = _titled(
        alt.layer(
            base.mark_area(interpolate="step", fillOpacity=0.3), base.mark_line(interpolate="step"), rules
        ),
        "Scores",
        f"{report.overall.bona_fide} bona fide, {report.overall.spoof} spoofed; the outermost bins hold all beyond",
    ).properties(width=_SIZE, height=0.6 * _SIZE)
    rows = [
        [*pair, real, fake] for pair, real, fake in zip(bins, curves.bona_fide, curves.spoof, strict=True)
    ]
    return Plot("scores", chart, ("low", "high", "bona_fide", "spoof"), rows)


def _lines(values: list[dict[str, Any]], kinds: Sequence[str], colours: Sequence[str], x: Any, y: Any) -> Any:
    """Lines that colours and dashes name."""
    import altair as alt

    domain = list(kinds)
    return (
        alt.Chart(alt.Data(values=values))
        .mark_line(strokeWidth=2, clip=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "kind:N", title=None, sort=domain, scale=alt.Scale(domain=domain, range=list(colours))
            ),
            strokeDash=alt.StrokeDash(
                "kind:N",
                title=None,
                sort=domain,
                scale=alt.Scale(domain=domain, range=[[1, 0], [6, 3], [2, 3]][: len(domain)]),
            ),
        )
    )


def _titled(chart: Any, title: str, says: str) -> Any:
    import altair as alt

    return chart.properties(
        title=alt.TitleParams(title, subtitle=says, anchor="start", subtitleColor="#444444")
    )


def _deviate(rate: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(min(max(rate, _LEAST), 1 - _LEAST)))
