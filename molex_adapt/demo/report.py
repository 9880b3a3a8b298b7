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
    """What the demonstration showed.

    Attributes:
        novel: the new domain.
        added: what `add-expert` reported.
        voices: every domain before and after, by the words for whose voices were measured: test recordings of voices
            that training heard, and of the voice nobody heard, where there is one.
        analysis: which experts fire.
        verdict: the answers to the three questions.
        seconds: wall-clock per step.
        page: the report to open in a browser.
        registry: the adapted one.
        failed: recordings that could not be made or used.
    """

    novel: str
    added: StageReport
    voices: Mapping[str, Comparison]
    analysis: Analysis
    verdict: Verdict
    seconds: Mapping[str, Seconds]
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
