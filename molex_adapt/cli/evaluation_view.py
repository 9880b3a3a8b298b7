"""An evaluation as tables: by attack, by condition, by both, and what the threshold refuses."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table

from molex_adapt.cli.pivots import pivot_tables
from molex_adapt.cli.tables import MOST_LISTED, eer_cell, empty_table, failures, reach
from molex_adapt.cli.tandem_view import add_tandem, tandem_tables
from molex_adapt.text import all_of

if TYPE_CHECKING:  # as in tables.py
    from collections.abc import Callable

    from molex_adapt.metrics import Rates, Refusals
    from molex_adapt.reports import EvaluationReport

_MOST_CONDITIONS = 24


def evaluation_tables(report: EvaluationReport) -> list[RenderableType]:
    """All figures: together, per attack, per condition, per attack in each condition, and refused bona fide speech."""
    other = report.other_ties
    title = "Detection by attack, each against all bona fide speech"
    table = _detection(title, "attack", report.by_attack, other.by_attack)
    table.add_section()
    table.add_row(
        all_of(report.by_attack), *_figures(report.overall, starred=other.overall is not None), style="bold"
    )
    parts: list[RenderableType] = [table]
    shown = _most_heard(report.by_condition)
    if shown:
        title = "Detection by condition, each with its own bona fide speech"
        rates = {name: report.by_condition[name] for name in shown}
        parts.append(_detection(title, "condition", rates, other.by_condition))
    if len(shown) > 1 and len(report.by_attack_and_condition) > 1:
        parts += _pivots(report, shown)
    if report.tandem is not None:
        parts += tandem_tables(report.tandem, shown)
    if len(shown) < len(report.by_condition):
        more = len(report.by_condition) - len(shown)
        parts.append(
            Padding(f"... and {more} further conditions, each with fewer recordings: see --json", (0, 1))
        )
    ends = [*_challenge(report), *_refused(report, shown), *_tied(report), *failures(report.failed)]
    return [*parts, *ends]


def _most_heard(rates: Mapping[str, Rates | None]) -> list[str]:
    """The conditions that tables show: all, or those with the most recordings."""
    counts = {name: item.bona_fide + item.spoof if item else 0 for name, item in rates.items()}
    kept = sorted(counts, key=counts.__getitem__, reverse=True)[:_MOST_CONDITIONS]
    return [name for name in rates if name in kept]


def _pivots(report: EvaluationReport, conditions: Sequence[str]) -> list[Table]:
    """A row per attack and a column per condition, each with one for all together: the EER, and the minDCF."""

    def cell(told: Callable[[Rates | None], str]) -> Callable[[str | None, str | None], str]:
        def of(attack: str | None, place: str | None) -> str:
            lacking = report.cell(attack, place) is None
            # An attack that was heard in a condition lacks bona fide speech there, which is told.
            heard = attack is not None and place in report.by_attack_and_condition[attack]
            return "-" if lacking and not heard else told(report.cell(attack, place))

        return of

    title = "EER in % by attack and condition (95 %), and how many are spoofed"
    last = "bona fide", lambda place: _bona_fide(report.cell(None, place))
    attacks = list(report.by_attack_and_condition)
    return [
        *pivot_tables(title, attacks, conditions, cell(_cell), last),
        *pivot_tables("minDCF by attack and condition", attacks, conditions, cell(_cost_cell), last),
    ]


def _bona_fide(rates: Rates | None) -> str:
    return "-" if rates is None else str(rates.bona_fide)


def _cost_cell(rates: Rates | None) -> str:
    return "-" if rates is None else f"{rates.min_dcf:.3f}"


def _cell(rates: Rates | None) -> str:
    if rates is None:
        return "no bona fide"
    return f"{eer_cell(rates)} {rates.spoof:4}"


def _challenge(report: EvaluationReport) -> list[Table]:
    """The challenges' figures of all together, each with its interval."""
    overall, found = report.overall, report.intervals
    if found is None and report.tandem is None:
        return []
    table = empty_table("All together, as the challenges measure", "figure", "value", "95 %", whole=True)
    if found is not None:
        table.add_row("minDCF", f"{overall.min_dcf:.3f}", reach(found.min_dcf))
        table.add_row("actDCF", f"{overall.act_dcf:.3f}", reach(found.act_dcf))
        table.add_row("EER", f"{100 * overall.eer:.2f} %", reach(overall.eer_ci, 100, 1))
        table.add_row("Cllr, bits", f"{overall.cllr:.3f}", reach(found.cllr))
    if report.tandem is not None:
        add_tandem(table, report.tandem)
    return [table]


def _refused(report: EvaluationReport, conditions: Sequence[str]) -> list[Table]:
    """Bona fide speech below the threshold, by condition."""
    if report.refused is None:
        return []
    title = f"Bona fide speech refused at the threshold of {report.threshold:+.2f}"
    table = empty_table(title, "condition", "refused", "95 %", "bona fide", whole=True)
    for name, item in report.refused_by_condition.items():
        if name in conditions:
            table.add_row(name, *_refusals(item))
    table.add_section()
    table.add_row(all_of(report.refused_by_condition), *_refusals(report.refused), style="bold")
    return [table]


def _refusals(item: Refusals) -> list[str]:
    low, high = item.ci
    return [f"{100 * item.rate:.1f} %", f"{100 * low:.1f}–{100 * high:.1f}", str(item.bona_fide)]


def _detection(title: str, what: str, parts: Mapping[str, Rates | None], starred: Container[str]) -> Table:
    table = empty_table(title, what)
    for name in ("EER", "95 %", "minDCF", "actDCF", "Cllr", "bona fide", "spoof"):
        table.add_column(name, justify="right", overflow="fold")
    for part, rates in parts.items():
        figures = ["not measured"] if rates is None else _figures(rates, starred=part in starred)
        table.add_row(part, *figures)
    return table


def _figures(rates: Rates, *, starred: bool = False) -> list[str]:
    low, high = rates.eer_ci
    return [
        f"{100 * rates.eer:.2f} %{'*' if starred else ''}",
        f"{100 * low:.1f}–{100 * high:.1f}" if rates.has_interval else "too few",
        f"{rates.min_dcf:.3f}",
        f"{rates.act_dcf:.3f}",
        f"{rates.cllr:.3f}",
        str(rates.bona_fide),
        str(rates.spoof),
    ]


def _tied(report: EvaluationReport) -> list[RenderableType]:
    """What a starred EER is by the other reading of equal scores."""
    other = report.other_ties
    overall = [] if other.overall is None else [(all_of(report.by_attack), other.overall)]
    conditions = [(f"condition {name}", eer) for name, eer in other.by_condition.items()]
    eers = [*other.by_attack.items(), *overall, *conditions]
    if not eers:
        return []
    named = [f"{name} {100 * eer:.2f} %" for name, eer in eers[:MOST_LISTED]]
    more = f" and {len(eers) - len(named)} more" if len(eers) > len(named) else ""
    readings = {
        "asvspoof5": "one by one, as the ASVspoof 5 package does",
        "step": "together, as a threshold does",
    }
    text = (
        f"* equal scores change this EER. It takes them {readings[report.ties]}; taken {readings[other.ties]} "
        f"(--ties {other.ties}): {', '.join(named)}{more}."
    )
    return [Padding(text, (0, 1))]
