"""What was found of one plan, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.plan import PLANS, Cell, Plan, plan_names, read_plan
from benchmarks.provenance import changed
from benchmarks.results import RESULTS, Figures, Results, load_results


@dataclass(frozen=True)
class Found:
    """A plan and its results, which may be empty."""

    name: str
    plan: Plan
    results: Results

    @cached_property
    def by_method(self) -> dict[str, dict[Cell, Figures]]:
        """Figures by method and cell, in the plan's order; methods that were not measured are left out."""
        figures, found = self.results.figures, dict[str, dict[Cell, Figures]]()
        for cell in self.plan.cells:
            if cell.name in figures:
                found.setdefault(cell.method, {})[cell] = figures[cell.name]
        return found

    def figures(self, name: str) -> Figures | None:
        """Of a row, None where it was not measured."""
        return self.results.figures.get(name)

    def origin(self) -> str:
        """When, on what, and before which changes the rows were measured."""
        makings = list(self.results.makings.values())
        dates = sorted({making.date for making in makings})
        text = f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))} on "
        text += "; ".join(sorted({described(making.machine) for making in makings})) + "."
        if parts := changed(making.code for making in makings):
            text += f" Before the last change of {_listed(f'`{part}`' for part in parts)}."
        if self.results.adopted:
            text += f" Of the recipe since then: {_listed(f'`{each}`' for each in self.results.adopted)}."
        return f"{text}\n"


def find_all(plans: Path = PLANS, results: Path = RESULTS) -> dict[str, Found]:
    """Everything, by the plan's name."""
    found = {}
    for name in plan_names(plans):
        plan = read_plan(name, plans)
        found[name] = Found(name, plan, load_results(name, results) or Results.of(plan))
    return found


def described(machine: dict[str, Any]) -> str:
    """A machine in words."""
    fast = "with" if machine["bfloat16"] else "without"
    what = machine["card"] or machine["processor"] or "a processor that was not recorded"
    return f"{what}, {machine['cores']} cores {fast} bfloat16 instructions, torch {machine['torch'] or 'not recorded'}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
