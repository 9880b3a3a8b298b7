"""Measure what plans ask for and their results lack.

    python -m benchmarks startup cost
    python -m benchmarks sequence --domains work/domains --methods ours joint --orders 0
    python -m benchmarks speed --again

Every row is kept as soon as it is there, so that the whole can be finished in parts, on whatever machine. Rows of
another plan or recipe are measured anew; those of other code only with --again.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.plan import Cell, Plan, plan_names, read_plan
from benchmarks.provenance import code_of
from benchmarks.results import RESULTS, Results, load_results
from benchmarks.standing import true_rows
from molex_adapt.errors import MolexError

ON_DOMAINS = ("sequence", "inversion", "joint", "amount", "unheard", "clean")
"""What is measured on what tools.wideband.domains wrote."""


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "plans", nargs="+", metavar="PLAN", choices=plan_names(), help=", ".join(plan_names())
    )
    parser.add_argument("--methods", nargs="*", help="rows of these alone")
    parser.add_argument("--orders", type=int, nargs="*", help="cells of these alone: their first argument")
    parser.add_argument(
        "--domains",
        type=Path,
        help=f"of {', '.join(ON_DOMAINS)}: what tools.wideband.domains wrote",
    )
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    for name in options.plans:
        plan = read_plan(name)
        cells = [
            cell
            for cell in plan.cells
            if (options.methods is None or cell.method in options.methods)
            and (options.orders is None or cell.arguments[0] in options.orders)
        ]
        if not cells:
            parser.error(f"the plan {name} has no such cells. Its methods: {', '.join(plan.runs)}")
        needed = {"domains": options.domains} if options.domains and plan.measurement in ON_DOMAINS else {}
        try:
            run(name, plan, cells, options.out, again=options.again, **needed)
        except MolexError as error:
            sys.exit(str(error))


def run(
    name: str, plan: Plan, cells: list[Cell], out: Path = RESULTS, *, again: bool = False, **needed: Path
) -> Results:
    """Measure cells that are missing, and keep each as soon as it is there.

    Args:
        name, plan, cells: what is wanted.
        out: folder of the results.
        again: also what is there.
        needed: passed on to what measures.
    """
    results = load_results(name, out) or Results.of(plan)
    results.keep(true_rows(plan, results))
    results.plan = plan.digest
    there = results.figures
    missing = [cell for cell in cells if again or cell.name not in there]
    code = code_of(plan.code)  # before hours in which somebody may change it
    module = importlib.import_module(f"benchmarks.{plan.measurement}")
    for cell, figures in module.measure(plan, missing, **needed) if missing else ():
        results.add(plan, cell, figures, code)
        results.save(out / f"{name}.json")
        print(f"{name}: {cell.name} {figures}"[:200], flush=True)
    return results


if __name__ == "__main__":
    main()
