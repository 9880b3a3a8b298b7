"""Figures of a countermeasure beside speaker verification as tables: pooled, by attack, by condition, by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from molex_adapt.cli.pivots import pivot_tables
from molex_adapt.cli.tables import empty_table, reach

if TYPE_CHECKING:  # as in tables.py
    from molex_adapt.metrics import Bounded, TandemFigures, TandemRates

_COSTS = {"a_dcf": "a-DCF", "t_dcf_2021": "min t-DCF (2021)", "t_dcf_2019": "min t-DCF (2019)"}
_SHORT = {"a_dcf": "a-DCF", "t_dcf_2021": "t-DCF\n2021", "t_dcf_2019": "t-DCF\n2019", "t_eer": "t-EER"}
_PIVOTS = {
    "a_dcf": "a-DCF by attack and condition",
    "t_dcf_2021": "min t-DCF (2021) by attack and condition",
    "t_eer": "t-EER in % by attack and condition",
}


def add_tandem(table: Table, found: TandemRates) -> None:
    """Add the pooled figures to a table of figure, value and interval."""
    table.add_section()
    for name, title in _COSTS.items():
        item: Bounded | None = getattr(found, name)
        if item is not None:
            table.add_row(title, f"{item.value:.4f}", reach(item.ci, places=4))
    if found.t_eer is not None:
        bounds = "" if found.t_eer_ci is None else reach(found.t_eer_ci, 100, 1)
        table.add_row("t-EER", f"{100 * found.t_eer:.2f} %", bounds)
    if found.asv is not None:
        asv = found.asv
        rates = (("targets rejected", asv.miss), ("nontargets accepted", asv.false_alarm))
        for title, rate in (*rates, ("spoofs accepted", asv.spoof_false_alarm)):
            table.add_row(f"ASV alone: {title}", f"{100 * rate:.2f} %", "")
    for title, count in found.figures.counts().items():
        table.add_row(f"{title} trials", str(count), "")


def tandem_tables(found: TandemRates, conditions: Sequence[str]) -> list[Table]:
    """The figures by attack, by condition and by both, where anything was measured; of conditions only some."""
    names = [name for name in _SHORT if getattr(found, name) is not None]
    by_condition = {name: item for name, item in found.parts.by_condition.items() if name in conditions}
    tables = [
        _by_part(f"Beside speaker verification, by {what}", what, names, parts)
        for what, parts in (("attack", found.parts.by_attack), ("condition", by_condition))
        if any(parts.values())
    ]
    attacks = [name for name, row in found.parts.by_attack_and_condition.items() if any(row.values())]
    if len(by_condition) < 2 or len(attacks) < 2:
        return tables

    def trials(condition: str | None) -> str:
        item = found.cell(None, condition)
        return "-" if item is None else str(item.target + item.nontarget)

    for figure, title in _PIVOTS.items():
        if figure in names:

            def told(attack: str | None, condition: str | None, figure: str = figure) -> str:
                return _value(found.cell(attack, condition), figure).removesuffix(" %")

            tables += pivot_tables(title, attacks, list(by_condition), told, ("bona fide trials", trials))
    return tables


def _by_part(title: str, what: str, names: Sequence[str], parts: Mapping[str, TandemFigures | None]) -> Table:
    kinds = ("target", "nontarget", "spoof")
    table = empty_table(title, what, *(_SHORT[name] for name in names), *kinds, whole=True)
    for part, item in parts.items():
        if item is None:
            table.add_row(part, "not measured")
        else:
            counts = (str(count) for count in item.counts().values())
            table.add_row(part, *(_value(item, name) for name in names), *counts)
    return table


def _value(item: TandemFigures | None, figure: str) -> str:
    value = None if item is None else getattr(item, figure)
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if figure == "t_eer" else f"{value:.4f}"
