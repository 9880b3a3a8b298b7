"""An analysis as files: the page, every figure as SVG and PNG, every number as JSON, CSV and Parquet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from molex_adapt.analysis.charts import overview
from molex_adapt.analysis.detail_charts import details
from molex_adapt.analysis.flat import DomainChange, FlatTable, flat_tables
from molex_adapt.analysis.page import page
from molex_adapt.analysis.readable import readable
from molex_adapt.atomic import write_output
from molex_adapt.data.formats import has_parquet, write_rows
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_folder, held_names
from molex_adapt.plots.drawing import require_altair, save_picture
from molex_adapt.reports import Analysis
from molex_adapt.text import storable

PAGE, NUMBERS, FIGURES, TABLES = "report.html", "analysis.json", "figures", "tables"
MARK = ".molex-adapt-analysis"
"""A file that says: this folder was made by an analysis and may be made anew."""

_MADE = {MARK, PAGE, NUMBERS, FIGURES, TABLES}
_REPORTED = Kind("a folder that analyze made", lambda path: {MARK} <= held_names(path) <= _MADE)


def check_report_folder(out: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before the work begins, what could not be written after it.

    Raises:
        DataError: the folder holds something else, or overlaps with what is read.
        RecipeError: the libraries for figures are not installed.
    """
    require_altair()
    check_folder(out, _REPORTED, [item for item in inputs if item.exists()])


def write_report(report: Analysis, out: Path, last: Sequence[DomainChange] = ()) -> None:
    """Write all files into a folder, in place of those of an earlier analysis.

    Args:
        report: an analysis.
        out: the folder.
        last: domains before and after the last expert.

    Raises:
        DataError: the folder holds something else, or cannot be written.
        RecipeError: the libraries for figures are not installed.
    """
    check_report_folder(out)
    try:
        _claim(out)
        write_output(out / NUMBERS, json.dumps(report.as_dict(), indent=1) + "\n")
        report, last = readable(report), readable(last)
        for table in flat_tables(report, last):
            _write_table(out / TABLES, table)
        _draw(report, last, out / FIGURES)
        write_output(out / PAGE, page(report, last).encode("utf-8", "replace"))
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror}). Free some space, or choose another folder by --out."
        ) from error


def _claim(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()  # first: a kill leaves a folder that is ours
    for name in (FIGURES, TABLES):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir()


def _write_table(folder: Path, table: FlatTable) -> None:
    rows = [[storable(value) if isinstance(value, str) else value for value in row] for row in table.rows]
    for suffix in (".csv", ".parquet") if has_parquet() else (".csv",):
        write_rows(folder / f"{table.name}{suffix}", list(table.columns), rows)


def _draw(report: Analysis, last: Sequence[DomainChange], folder: Path) -> None:
    for figure in [*overview(report, last), *details(report)]:
        save_picture(figure.chart, folder, figure.key)
