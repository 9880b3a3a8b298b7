"""What the demonstration showed: as JSON values, and as a page of one file without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.conventions import NULL_DOMAIN, Seconds
from molex_adapt.data import Failed
from molex_adapt.demo.verdict import Verdict
from molex_adapt.pages import render
from molex_adapt.reports import Analysis, Comparison, StageReport


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration showed."""

    novel: str
    added: StageReport
    voices: Mapping[str, Comparison]
    """Every domain before and after, by the words for whose voices were measured: test recordings of voices that
    training heard, and of the voice nobody heard, where there is one."""
    analysis: Analysis
    verdict: Verdict
    seconds: Mapping[str, Seconds]
    """Wall-clock per step."""
    page: Path
    registry: Path
    failed: tuple[Failed, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        known, held_out, *_ = (*self.voices.values(), None)
        assert known is not None
        return {
            "add_expert": self.added.as_dict(),
            "known_voices": known.as_dict(),
            "held_out_voice": None if held_out is None else held_out.as_dict(),
            "analysis": self.analysis.as_dict(),
            "verdict": self.verdict.as_dict(),
            "seconds": dict(self.seconds),
            "report": str(self.page),
            "failed": [{"path": item.path, "reason": item.reason} for item in self.failed],
        }


def write_report(report: DemoReport) -> None:
    """Write the page to `report.page`, as UTF-8."""
    text = render("demo/report.html.j2", report=report, control=NULL_DOMAIN)
    report.page.write_text(text, encoding="utf-8")
