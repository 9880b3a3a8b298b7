"""Joint training: the mixture against one LoRA, and what its parts change."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report.found import Found
from benchmarks.report.tables import spread, table

Figures = dict[str, Any]
Runs = dict[int, Figures]

_ABOUT = (
    "EER is the mean over all attacks, by test voices under drawn conditions; over the seeds its mean, and smallest to "
    "largest. `+experts`: the mean difference to the mixture of the same seed, in points. An expert is dead below 1 % "
    "of all gates. Distances of routing (Jensen-Shannon) are those of attacks that are made alike and of others; p, by "
    "shuffled attacks, is the largest of the seeds.\n"
)


def joint(found: Found) -> list[str]:
    """A row for each way to train."""
    runs: dict[str, Runs] = {
        method: {int(cell.arguments[0]): figures for cell, figures in cells.items()}
        for method, cells in found.by_method.items()
    }
    whole = runs.get("experts", {})
    header = [
        "",
        "seeds",
        "weights",
        "EER, %",
        "+experts",
        "worst attack, %",
        "dead",
        "shares, %",
        "alike, others",
        "p",
    ]
    return [
        _ABOUT,
        *table(header, [[_name(found, method), *_row(own, whole)] for method, own in runs.items()]),
    ]


def _name(found: Found, method: str) -> str:
    variant = method.partition("+")[2]
    return f"{method}: {found.plan.variants[variant].about}" if variant else method


def _row(own: Runs, whole: Runs) -> list[str]:
    rates = {seed: 100 * mean(figures["eer"].values()) for seed, figures in own.items()}
    shared = [rate - 100 * mean(whole[seed]["eer"].values()) for seed, rate in rates.items() if seed in whole]
    worst = [100 * max(figures["eer"].values()) for figures in own.values()]
    first = next(iter(own.values()))
    cells = [
        str(len(own)),
        f"{first['weights'] / 1e6:.2f} M",
        f"{mean(rates.values()):.1f} ({spread(rates.values(), '{:.1f}')})",
        f"{mean(shared):+.1f}" if shared and own is not whole else "",
        spread(worst, "{:.0f}"),
    ]
    if "dead" not in first:
        return [*cells, "", "", "", ""]
    each = list(own.values())
    least, largest = min(item["least_share"] for item in each), max(item["largest_share"] for item in each)
    return [
        *cells,
        str(max(figures["dead"] for figures in each)),
        f"{100 * least:.0f} to {100 * largest:.0f}",
        f"{mean(item['within'] for item in each):.2f}, {mean(item['between'] for item in each):.2f}",
        f"{max(item['p'] for item in each):.4f}",
    ]
