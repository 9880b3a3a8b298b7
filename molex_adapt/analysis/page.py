"""The page: one file that needs nothing else, with charts that draw themselves from numbers inside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from molex_adapt.analysis.charts import overview
from molex_adapt.analysis.corpus import ABLATED_EACH, BONA_FIDE_SHARES, PROFILED_EACH
from molex_adapt.analysis.detail_charts import details_of_one
from molex_adapt.analysis.flat import DomainChange, FlatTable, Value, flat_tables
from molex_adapt.analysis.plotted import det_rows, score_rows
from molex_adapt.analysis.preface import PLAIN, Preface, change_drawings
from molex_adapt.analysis.readable import readable
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.pages import markup, render
from molex_adapt.reports import Analysis

LARGEST_BYTES = 3 * 2**20
"""What a page may weigh with 64 experts, 60 attacks and 24 blocks."""

_SHOWN = (
    *("verdicts", "errors", "witnesses", "named", "usage", "ablation", "moved", "distances", "controls"),
    *("within", "blocks", "last_expert"),
)
"""Tables on the page; the others, block by block, are in files beside it."""
_PERCENT = {
    *("eer", "eer_low", "eer_high", "without_experts", "readout_alone", "experts_change", "change_low"),
    *("change_high", "gate", "before_top_k", "selected", "top_1", "share", "eer_change", "before", "after"),
    *("blamed", "named", "named_low", "named_high"),
}
_LEFT_OUT = {"score_low", "score_high", "moved", "utterances", "sentence", "together_low", "together_high"}
"""Columns that the files have and the page does without, for its weight and width."""


def page(report: Analysis, last: Sequence[DomainChange] = (), preface: Preface = PLAIN) -> str:
    """The whole page as HTML.

    Args:
        report: an analysis of labelled recordings.
        last: domains before and after the last expert.
        preface: what stands above the findings.
    """
    import vl_convert

    report, last, preface = readable(report), readable(last), readable(preface)
    tables = [table for table in flat_tables(report, last) if table.name in _SHOWN]
    figures, detail = overview(report, last, apart=True), details_of_one(report)
    changes = change_drawings(preface)
    content = {
        "tables": {table.name: _compact(table) for table in tables},
        "charts": {item.key: item.chart.to_dict() for item in (*changes, *figures)},
        "detail": {item.key: item.chart.to_dict() for item in detail},
        "attacks": report.attacks,
        "experts": report.experts,
        "blocks": {name: _rounded(grid) for name, grid in report.usage_by_block.items()},
        "scores": {name: score_rows(report, name) for name in report.attacks if name != BONA_FIDE},
        "det": {name: det_rows(report, name) for name in report.attacks if name != BONA_FIDE},
    }
    parts = files("molex_adapt.analysis")
    # The library holds the end tag of a script inside its texts; there, a backslash changes nothing.
    library = vl_convert.javascript_bundle(None)  # type: ignore[arg-type]  # without a snippet of ours
    library = library.replace("</script", "<\\/script")
    return render(
        "analysis/report.html.j2",
        preface=preface,
        changes=changes,
        report=report,
        tables=tables,
        figures=figures,
        detail=detail,
        first=_first(report, preface),
        samples={
            name: (each, each * BONA_FIDE_SHARES)
            for name, each in (("ablated", ABLATED_EACH), ("profiled", PROFILED_EACH))
        },
        content=markup(_embedded(content)),
        library=markup(library),
        style=markup((parts / "page.css").read_text(encoding="utf-8")),
        script=markup((parts / "page.js").read_text(encoding="utf-8")),
    )


def _first(report: Analysis, preface: Preface) -> str:
    """The attack that is shown first: the preface's, or the one with the highest EER that is no chance; no control."""
    if preface.attack in report.attacks:
        return preface.attack
    attacks = {name: item for name, item in report.findings.errors.items() if name != NULL_DOMAIN}
    enough = {name: item for name, item in attacks.items() if item.eer_ci is not None}
    rates = {name: item.eer for name, item in (enough or attacks).items()}
    return max(rates, key=lambda name: rates[name]) if rates else report.attacks[0]


def _compact(table: FlatTable) -> dict[str, Any]:
    kept = [at for at, name in enumerate(table.columns) if name not in _LEFT_OUT]
    columns = [table.columns[at] for at in kept]
    return {
        "columns": columns,
        "kinds": ["percent" if name in _PERCENT else "value" for name in columns],
        "rows": [[_short(row[at]) for at in kept] for row in table.rows],
    }


def _short(value: Value) -> Value:
    return float(f"{round(value, 4):.3g}") if isinstance(value, float) else value


def _rounded(grid: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in grid]


def _embedded(content: Any) -> str:
    """JSON that no name in it can end: a script ends at its end tag alone."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
