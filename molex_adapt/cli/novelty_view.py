"""What is new in recordings without labels, on 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from molex_adapt.cli.paged import whole_words
from molex_adapt.cli.tables import empty_table, failures

if TYPE_CHECKING:
    from molex_adapt.findings import Novelty


def novelty_view(report: Novelty) -> list[RenderableType]:
    """The answer, the most unlike recordings, the groups, and how far the answer can be trusted."""
    listed = empty_table("The most unlike, with the known speech that each is nearest to", "recording")
    listed.add_column("p", justify="right", no_wrap=True)
    listed.add_column("nearest", no_wrap=True)
    for item in report.most_unlike:
        listed.add_row(Text(item.path, overflow="fold"), f"{item.p:.3f}", whole_words(item.nearest))
    groups = empty_table("Groups that are alike in routing and spectrum")
    for name in ("recordings", "unlike"):
        groups.add_column(name, justify="right", no_wrap=True)
    for name in ("nearest", "busiest expert"):
        groups.add_column(name, no_wrap=True)
    groups.add_column("share", justify="right", no_wrap=True)
    for found in report.families:
        names = whole_words(found.nearest), whole_words(found.busiest)
        figures = str(found.recordings), f"{100 * found.unlike:.0f} %"
        groups.add_row(*figures, *names, f"{100 * found.share:.0f} %")
    return [
        Text(report.sentence, style="bold"),
        Text(),
        listed,
        groups,
        *_trust(report),
        *map(Text, report.remarks),
        *failures(report.failed),
    ]


def _trust(report: Novelty) -> list[RenderableType]:
    if report.auroc is None or report.auroc_ci is None:
        return [Text("Known attacks have too few recordings each to say how well new ones are found.")]
    table = empty_table("Each known attack, if it were new: AUROC against all other known speech")
    table.add_column("attack", no_wrap=True)
    for name in ("AUROC (95 %)", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in report.left_out:
        low, high = item.ci
        table.add_row(
            whole_words(item.attack), f"{item.auroc:.2f} ({low:.2f}–{high:.2f})", str(item.recordings)
        )
    low, high = report.auroc_ci
    return [
        table,
        Text(f"Mean {report.auroc:.2f} ({low:.2f}–{high:.2f}), on {report.known} known recordings"),
    ]
