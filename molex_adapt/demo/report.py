"""What the demonstration showed: as JSON values, and at the top of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molex_adapt.analysis.page import page
from molex_adapt.analysis.preface import Preface, Statement
from molex_adapt.atomic import write_output
from molex_adapt.conventions import NULL_DOMAIN, Seconds
from molex_adapt.data import Failed
from molex_adapt.demo.verdict import Verdict
from molex_adapt.plots.drawing import INSTALL
from molex_adapt.reports import Analysis, Comparison, StageReport


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration showed."""

    novel: str
    """The new domain."""
    attack: str
    """What the analysis calls its forged speech."""
    added: StageReport
    voices: Mapping[str, Comparison]
    """Every domain before and after, by the words for whose voices were measured: test recordings of voices that
    training heard, and of the voice nobody heard, where there is one."""
    analysis: Analysis
    """Of all these recordings together, by the mixture with the new expert."""
    verdict: Verdict
    seconds: Mapping[str, Seconds]
    """Wall-clock per step."""
    page: Path | None
    """None where what draws it is not installed."""
    registry: Path
    failed: tuple[Failed, ...]

    @property
    def questions(self) -> tuple[str, str, str]:
        """What the sentences of the verdict answer."""
        return f"Does it catch {self.novel}?", "Did it forget?", "Which experts did the work?"

    @property
    def remarks(self) -> list[str]:
        """What is missing, and how to get it."""
        if self.page is not None:
            return []
        return [f"No page, for what draws it is not installed: {INSTALL}, and run the demonstration again"]

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
            "report": None if self.page is None else str(self.page),
            "remarks": self.remarks,
            "failed": [item.as_dict() for item in self.failed],
        }


def write_page(report: DemoReport) -> None:
    """Write the page of the analysis, the story above it, to `report.page`; nothing where that is None."""
    if report.page is not None:
        write_output(
            report.page, page(report.analysis, preface=preface_of(report)).encode("utf-8", "replace")
        )


def preface_of(report: DemoReport) -> Preface:
    """The story: what was done, the three answers, every domain before and after."""
    known = next(iter(report.voices.values()))
    remarks = []
    if len(report.voices) > 1:
        remarks.append(
            "The shipped detector was trained on real speech of the known voices, of the other on none."
        )
    if NULL_DOMAIN in known.after:
        remarks.append(f"{NULL_DOMAIN} is processing without an attack: it must stay near 50.")
    state = "after the new expert was added" if report.added.activated else "by the detector as it was"
    remarks.append(f"What follows is measured on all these recordings together, {state}.")
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    return Preface(
        title=f"molex-adapt meets {report.novel}",
        lead=_lead(report),
        statements=tuple(map(Statement, report.questions, report.verdict.sentences)),
        changes=report.voices,
        attack=report.attack,
        remarks=(" ".join(remarks), f"It took: {took}."),
    )


def _lead(report: DemoReport) -> str:
    done = "The readout learnt it in closed form, and one new expert was trained on what that left; "
    if report.added.activated:
        came = "the base, the head and every old expert stayed frozen."
    else:
        came = "but acceptance refused both, and the detector is as it was."
    return f"The shipped detector had never met {report.novel}. {done}{came}"
