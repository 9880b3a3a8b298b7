"""A sequence of attacks on one base beside the same sequence on another."""

from __future__ import annotations

from statistics import mean

from benchmarks.plan import Plan
from benchmarks.report.found import Found
from benchmarks.report.paired import Runs, beside, difference, level
from benchmarks.report.sequence import title
from benchmarks.report.tables import table

Pairs = dict[str, tuple[Runs, Runs]]
"""By method: runs on this base, and those of the same orders on the other."""

ABOUT = """\
`{plan}` on {base}, beside `{other}` on {own}: the same recordings, orders, recipe and options, and nothing chosen anew.
Only orders that a method was run in on both bases are shown. EER in per cent, differences in points, below zero where
{base} is better, with 95 % intervals over test sources and orders, which are too narrow where orders are few. Refused
is real speech at the threshold that was set after the last step; seconds are of the whole sequence on one thread,
without scoring, and those of the two bases may be of different machines.
"""


def bases(found: Found, other: Found) -> list[str]:
    """Methods, then attacks; nothing of a method that was run on one base alone."""
    pairs: Pairs = {
        method: (beside(runs, theirs), beside(theirs, runs))
        for method, runs in found.by_method.items()
        if (theirs := other.by_method.get(method)) and beside(runs, theirs)
    }
    about = ABOUT.format(plan=found.name, other=other.name, base=_base(found.plan), own=_base(other.plan))
    name = _base(other.plan)
    return [about, *_methods(found.plan, pairs, name), *_attacks(found.plan, pairs, name)]


def _base(plan: Plan) -> str:
    # Whose settings name none has that of the shipped registry.
    return str(plan.settings["base"]).rpartition("/")[2] if "base" in plan.settings else "the embedded base"


def _methods(plan: Plan, pairs: Pairs, other: str) -> list[str]:
    kinds = {"test": plan.settings["test"], "all": [*plan.settings["development"], *plan.settings["test"]]}
    rows = []
    for method, (runs, theirs) in pairs.items():
        row = [title(method), str(len(runs))]
        for kind, attacks in kinds.items():
            apart = difference(runs, theirs, kind, attacks)
            assert apart is not None  # `beside` has found the same recordings
            row += [f"{level(each, kind, attacks).value:.1f}" for each in (runs, theirs)]
            row.append(apart.text(sign=True))
        row += [
            f"{mean(100 * run['threshold']['last']['refused'] for run in each.values()):.1f}"
            for each in (runs, theirs)
        ]
        row += [f"{mean(run['cost']['seconds'] for run in each.values()):.0f}" for each in (runs, theirs)]
        rows.append(row)
    header = ["method", "orders", "test attacks", other, "difference", "all attacks", other, "difference"]
    return ["### Bases\n", *table([*header, "refused", other, "seconds", other], rows)]


def _attacks(plan: Plan, pairs: Pairs, other: str) -> list[str]:
    rows = [
        [
            name,
            kind,
            *(
                f"{mean(100 * run['final'][name] for run in runs.values()):.1f}"
                for both in pairs.values()
                for runs in both
            ),
        ]
        for kind in ("test", "development")
        for name in plan.settings[kind]
    ]
    header = [word for method in pairs for word in (method, other)]
    return ["### Attacks, on either base\n", *table(["attack", "kind", *header], rows)] if pairs else []
