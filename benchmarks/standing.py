"""Whether rows are still true: of the plan, and of the recipe as it is today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.plan import Plan, digest
from benchmarks.results import Results, Row


@dataclass(frozen=True)
class Fault:
    """Why a row is not true today.

    Attributes:
        row: its name.
        reason: in words.
        settings: where settings alone came or went, these; such a row may be adopted.
    """

    row: str
    reason: str
    settings: tuple[str, ...] = ()


def faults(plan: Plan, results: Results) -> list[Fault]:
    """Every row of another plan or recipe."""
    if (results.measurement, results.plan) != (plan.measurement, plan.digest):
        return [Fault(row.name, "made by another plan") for row in results.rows]
    methods = {cell.name: cell.method for cell in plan.cells}
    found = []
    for row in results.rows:
        if row.name not in methods:
            found.append(Fault(row.name, "not in the plan"))
        elif fault := _of_another_recipe(row, results, plan.deciding(methods[row.name])):
            found.append(fault)
    return found


def true_rows(plan: Plan, results: Results) -> list[Row]:
    """Rows without a fault."""
    wrong = {fault.row for fault in faults(plan, results)}
    return [row for row in results.rows if row.name not in wrong]


def adopt(plan: Plan, results: Results) -> list[str]:
    """Take rows over to the present recipe whose settings came or went, and whose common settings are the same.

    For a setting that nothing read before it went, or whose default is what was done before it came: nobody but a
    person can tell.

    Returns:
        These settings.
    """
    methods = {cell.name: cell.method for cell in plan.cells}
    adoptable = {fault.row: fault for fault in faults(plan, results) if fault.settings}
    for row in results.rows:
        if row.name in adoptable:
            deciding = plan.deciding(methods[row.name])
            row.recipe = digest(deciding)
            results.recipes[row.recipe] = deciding
    settings = sorted({setting for fault in adoptable.values() for setting in fault.settings})
    results.adopted += [setting for setting in settings if setting not in results.adopted]
    results.keep(results.rows)
    return settings


def _of_another_recipe(row: Row, results: Results, deciding: dict[str, Any]) -> Fault | None:
    if row.recipe == (digest(deciding) if deciding else ""):
        return None
    then, now = (dict(_flat(sections)) for sections in (results.recipes.get(row.recipe, {}), deciding))
    other = [
        f"{key} was {then[key]}, is {now[key]}" for key in then.keys() & now.keys() if then[key] != now[key]
    ]
    if other or not then or not now:
        return Fault(row.name, f"of another recipe: {'; '.join(sorted(other)) or 'other settings decide it'}")
    gone, come = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    settings = (*(f"{key} went" for key in gone), *(f"{key} came" for key in come))
    return Fault(row.name, f"of another recipe: {', '.join(settings)}", settings)


def _flat(sections: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in sections.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
