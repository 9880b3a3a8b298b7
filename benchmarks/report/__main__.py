"""Write the pages, or check them.

    python -m benchmarks.report                   write RESULTS.md and the README's table
    python -m benchmarks.report --check           say what is not true, or not what the results give; write nothing
    python -m benchmarks.report --drop            delete rows of another plan or recipe, then write
    python -m benchmarks.report --adopt sequence  take rows over to a recipe in which settings came or went that decide
                                                  nothing of theirs, then write

Exit status 1 where a row is of another plan or recipe, or --check finds a page that is not what the results give.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.plan import plan_names
from benchmarks.report.found import Found, find_all
from benchmarks.report.pages import pages
from benchmarks.results import RESULTS
from benchmarks.standing import Fault, adopt, faults, true_rows
from molex_adapt.errors import MolexError


def main() -> None:
    """Read the command line, write or check."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--drop", action="store_true")
    what.add_argument("--adopt", choices=plan_names(), metavar="PLAN")
    try:
        problems = _problems(parser.parse_args())
    except MolexError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


def _problems(options: argparse.Namespace) -> list[str]:
    """What is wrong, after what was asked for is done."""
    found = find_all()
    if options.drop:
        drop(found)
    if options.adopt:
        _adopt(found[options.adopt])
    problems = list(untrue(found))
    if problems:
        return problems
    texts = pages(found)
    if options.check:
        return list(different(texts))
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return []


def untrue(found: Mapping[str, Found], results: Path = RESULTS) -> Iterator[str]:
    """What is wrong with the results themselves."""
    for path in sorted(results.glob("*.json")):
        if path.stem not in found:
            yield f"results/{path.name}: no plan of that name. Delete it, or write plans/{path.stem}.yaml"
    for name, each in found.items():
        alike: dict[Fault, list[str]] = {}
        for fault in faults(each.plan, each.results):
            alike.setdefault(replace(fault, row=""), []).append(fault.row)
        for fault, rows in alike.items():
            remedy = f"Measure it anew (python -m benchmarks {name}) or drop it (python -m benchmarks.report --drop)"
            if fault.settings:
                remedy += (
                    f"; if these settings decide nothing of it: python -m benchmarks.report --adopt {name}"
                )
            yield f"results/{name}.json: {_some(rows)}: {fault.reason}. {remedy}"


def _some(rows: list[str]) -> str:
    return ", ".join(rows) if len(rows) <= 3 else f"{rows[0]}, {rows[1]} and {len(rows) - 2} more rows"


def different(texts: Mapping[Path, str]) -> Iterator[str]:
    """Pages that are not what the results give."""
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{path.name} is not what plans, results and code give. Run python -m benchmarks.report"


def drop(found: Mapping[str, Found], results: Path = RESULTS) -> None:
    """Delete what is not true, with files that nothing is left of."""
    for name, each in found.items():
        path = results / f"{name}.json"
        each.results.keep(true_rows(each.plan, each.results))
        each.results.plan = each.plan.digest
        if each.results.rows:
            each.results.save(path)
        else:
            path.unlink(missing_ok=True)


def _adopt(found: Found) -> None:
    for setting in adopt(found.plan, found.results):
        print(f"{found.name}: {setting}")
    found.results.save(RESULTS / f"{found.name}.json")


if __name__ == "__main__":
    main()
