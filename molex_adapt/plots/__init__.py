"""Figures of an evaluation as files, and what all figures share. Altair is imported where a chart is made."""

from molex_adapt.plots.files import check_plots_folder, write_plots

__all__ = ["check_plots_folder", "write_plots"]
