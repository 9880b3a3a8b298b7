"""Plots of an evaluation in a folder: PNG and SVG, and the numbers of each as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molex_adapt.data.formats import write_rows
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_folder, held_names
from molex_adapt.plots.drawing import require_altair, save_picture
from molex_adapt.plots.evaluation_charts import Plot, evaluation_plots
from molex_adapt.reports import EvaluationReport

MARK = ".molex-adapt-plots"
"""A file that says: this folder was made by an evaluation and may be made anew."""

_SUFFIXES = frozenset((".csv", ".png", ".svg"))
_PLOTTED = Kind(
    "a folder of plots that evaluate made",
    lambda path: (
        (path / MARK).is_file()
        and all(name == MARK or Path(name).suffix in _SUFFIXES for name in held_names(path))
    ),
)


def check_plots_folder(out: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before the work begins, what could not be written after it.

    Raises:
        DataError: the folder holds something else, or what is read, or lies among it.
        RecipeError: the libraries for figures are not installed.
    """
    require_altair("--plots")
    check_folder(out, _PLOTTED, inputs)


def write_plots(report: EvaluationReport, out: Path) -> None:
    """Draw an evaluation that kept its curves, in place of the plots of an earlier one.

    Args:
        report: of `Registry.evaluate(curves=True)` or `evaluate_scores(curves=True)`.
        out: the folder.

    Raises:
        DataError: the report has no curves, the folder holds something else, or it cannot be written.
        RecipeError: the libraries for figures are not installed.
    """
    if report.curves is None:
        raise DataError("This evaluation kept no curves to draw. Evaluate with curves=True.")
    check_plots_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).touch()
        for plot in evaluation_plots(report, report.curves):
            _write(plot, out)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror}). Free some space, or choose another folder by --plots."
        ) from error


def _write(plot: Plot, out: Path) -> None:
    write_rows(out / f"{plot.name}.csv", list(plot.columns), plot.rows)
    save_picture(plot.chart, out, plot.name, legend="right")
