"""Two generations side by side, on 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.paged import add_figures, whole_words
from molex_adapt.cli.tables import empty_table, failures

if TYPE_CHECKING:
    from molex_adapt.findings import Handover, Handovers

_LEAST = 0.02
"""Gate mass that is named."""
_NAMED = 2


def handover_view(report: Handovers) -> list[RenderableType]:
    """What new experts took over, from whom, and what became of the EER."""
    table = empty_table(f"Generation {report.older} and {report.newer}: what new experts took over", "attack")
    add_figures(table, "took")
    table.add_column("from", overflow="fold")
    add_figures(table, "EER in %", "change (95 %)")
    for item in report.attacks:
        table.add_row(whole_words(item.attack), f"{100 * item.took:.0f} %", _from(item), *_rates(item))
    parts = {"added": report.added, "removed": report.removed}
    lines = [Text(f"Experts {what}: {', '.join(names)}") for what, names in parts.items() if names]
    if not lines:
        lines = [Text("Both have the same experts: nothing was taken over")]
    return [*lines, table, *failures(report.failed)]


def _from(item: Handover) -> str:
    most = sorted(item.lost.items(), key=lambda pair: -pair[1])[:_NAMED]
    named = [f"{whole_words(name, 14)} {100 * share:.0f}" for name, share in most if share >= _LEAST]
    return "\n".join(named) or "-"


def _rates(item: Handover) -> tuple[str, Text]:
    if item.eer is None:
        return "-", Text("-")
    before, after = (f"{100 * rate:.1f}" for rate in item.eer)
    if item.eer_ci is None:
        return f"{before} → {after}", Text(f"{100 * (item.eer[1] - item.eer[0]):+.1f} (too few)")
    low, high = item.eer_ci
    style = "green" if high < 0 else "red" if low > 0 else ""
    change = f"{100 * (item.eer[1] - item.eer[0]):+.1f} ({100 * low:+.1f} {100 * high:+.1f})"
    return f"{before} → {after}", Text(change, style=style)
