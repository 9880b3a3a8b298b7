"""What `scored.compared` found, in words: mean EER with its interval, and what two detectors differ by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Figures
from molex_adapt.conventions import DRAWN, NO_CONDITION
from molex_adapt.metrics.resampling import percentiles

NAMES = {NO_CONDITION: "as they are", DRAWN: "under drawn conditions"}
"""Conditions of the figures, in words."""


def level(group: Figures) -> str:
    """Mean EER of the attacks, per cent, with its interval."""
    return f"{100 * group['mean']:.1f} {_interval(_drawn(group), '{:.1f}')}"


def points(after: Figures, before: Figures) -> str:
    """By how much the mean EER of the same attacks differs, paired over resamples."""
    change = 100 * (after["mean"] - before["mean"])
    return f"{change:+.1f} {_interval(_drawn(after) - _drawn(before), '{:+.1f}')}"


def percent(rate: float) -> str:
    """A fraction, in per cent."""
    return f"{100 * rate:.1f}"


def _drawn(group: Figures) -> NDArray[np.float64]:
    return np.array(group["resampled"], dtype=np.float64) / 100


def _interval(values: NDArray[np.float64], form: str) -> str:
    low, high = percentiles(values, 0.95)
    return f"[{form.format(low)}, {form.format(high)}]"
