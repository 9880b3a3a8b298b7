"""The two pages that show figures: benchmarks/RESULTS.md, and the README with its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.plan import ROOT
from benchmarks.report import costs, detector
from benchmarks.report.amount import amount
from benchmarks.report.bases import bases
from benchmarks.report.clean import clean
from benchmarks.report.found import Found
from benchmarks.report.gpu import gpu
from benchmarks.report.joint import joint
from benchmarks.report.readme import command_of, missing, with_table
from benchmarks.report.sequence import sequence
from benchmarks.report.unheard import unheard

RESULTS_PAGE, README = ROOT / "benchmarks" / "RESULTS.md", ROOT / "README.md"
SECTIONS: dict[str, tuple[str, Callable[[Found], list[str]]]] = {
    "demo": ("The demonstration", detector.demo),
    "limits": ("Limits of the shipped detector", detector.limits),
    "inversion": ("What can be rebuilt from what an expert keeps", detector.inversion),
    "unheard": ("Two bases on voices that nothing heard", unheard),
    "clean": ("A first training from clean recordings", clean),
    "sequence": ("A sequence of attacks", sequence),
    "joint": ("Several experts trained together", joint),
    "amount": ("How many recordings an expert needs", amount),
    "adding": ("Adding an expert", costs.adding),
    "speed": ("Speed", costs.speed),
    "startup": ("Start-up", costs.startup),
    "cost": ("What the mixture costs", costs.cost),
    "crossover": ("Frame routing: all experts at once, or only the chosen ones", costs.crossover),
    "training": ("Training one expert", costs.training),
    "gpu": ("On a graphics card", gpu),
}
"""Per measurement, in the page's order."""


def pages(found: Mapping[str, Found]) -> dict[Path, str]:
    """Texts by the file they belong into."""
    return {RESULTS_PAGE: results_page(found), README: with_table(README.read_text(encoding="utf-8"), found)}


def results_page(found: Mapping[str, Found]) -> str:
    """Every plan in a section, whether it was measured or not."""
    parts = [
        "# Measured\n",
        (
            "Made by `python -m benchmarks.report` from `benchmarks/plans/` and `benchmarks/results/`. Every row is of "
            "the present recipe, or the build fails; where code that decides it has changed since, the section says "
            "so. EER in per cent on recordings that no training heard.\n"
        ),
    ]
    order = list(SECTIONS)
    for name in sorted(sorted(found), key=lambda name: order.index(found[name].plan.measurement)):
        plan = found[name].plan
        title, section = SECTIONS[plan.measurement]
        if plan.beside is not None:
            title, section = f"{title}, on another base", partial(bases, other=found[plan.beside])
        parts += [f"## {title}\n", f"`{command_of(name)}`\n"]
        if found[name].results.rows:
            parts += [found[name].origin(), *section(found[name])]
        else:
            parts.append(f"{missing(name)}\n")
    return "\n".join(parts).rstrip("\n") + "\n"
