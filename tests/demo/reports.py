"""Reports of the demonstration made by hand, whose figures tests can choose."""

from __future__ import annotations

from pathlib import Path

from molex_adapt.demo.report import DemoReport
from molex_adapt.demo.verdict import judge
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.reports import Analysis, Change, Comparison, Gain, StageReport


def rates(eer: float) -> Rates:
    return Rates(
        eer=eer,
        eer_ci=(max(0.0, eer - 0.04), eer + 0.04),
        min_dcf=0.1,
        act_dcf=0.2,
        cllr=0.3,
        bona_fide=150,
        spoof=150,
    )


def change(before: float, after: float, spread: float = 0.01) -> Change:
    rise = after - before
    return Change(
        eer=rise,
        interval=(rise - spread, rise + spread),
        miss=(0.012, 0.112),
        false_alarm=(before, after),
        bona_fide_shift=-3.7,
        spoof_shift=-11.0,
    )


def compared(name: str, spread: float = 0.01, /, **domains: tuple[float, float]) -> Comparison:
    return Comparison(
        before={domain: rates(pair[0]) for domain, pair in domains.items()},
        after={domain: rates(pair[1]) for domain, pair in domains.items()},
        change={domain: change(*pair, spread) for domain, pair in domains.items()},
        novel=name,
        real_speech=RefusalsChange(0.012, 0.112, (0.05, 0.15), 150, 150),
    )


def analysed(**shares: dict[str, float]) -> Analysis:
    rows = {"bonafide" if name == "bona_fide" else name: found for name, found in shares.items()}
    experts = list(next(iter(rows.values())))
    return Analysis(
        experts=experts,
        attacks=list(rows),
        blocks=1,
        usage=rows,
        usage_by_block={name: [list(found.values())] for name, found in rows.items()},
    )


def report_of(
    folder: Path,
    voices: dict[str, Comparison],
    analysis: Analysis,
    novel: str = "novel",
    refused: list[str] | None = None,
    withdrawn: bool = False,
    gain: Gain | None = None,
) -> DemoReport:
    """A report about the domain `novel` from comparisons by voice, and shares by attack."""
    refused = refused or []
    known = next(iter(voices.values()))
    added = StageReport(
        expert=novel,
        generation=2,
        activated=not refused,
        refused=refused,
        before={},
        after=known.after,
        withdrawn=withdrawn,
        gain=gain,
    )
    verdict = judge(added, voices, analysis, novel, tolerance=0.03)
    seconds = {"simulate": 61.4, "add-expert": 80.0}
    page = folder / "report.html"
    return DemoReport(novel, novel, added, voices, analysis, verdict, seconds, page, folder / "registry", ())
