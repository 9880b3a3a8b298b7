"""The demonstration's page: the answers, then the figures they come from; one file, no scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.pages import render

if TYPE_CHECKING:
    from molex_adapt.demo.run import DemoReport


def write_report(report: DemoReport) -> None:
    """Write the page to `report.page`, as UTF-8."""
    text = render("demo/report.html.j2", report=report, control=NULL_DOMAIN)
    report.page.write_text(text, encoding="utf-8")
