"""Intervals of error rates as records have them: what others wrote may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molex_adapt.conventions import FEWEST_FOR_INTERVAL


def recorded_interval(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """Both ends of the EER's interval; None where there is none, or too few recordings for one."""
    ends = figures.get("eer_ci")
    if not isinstance(ends, list | tuple) or len(ends) != 2 or not all(map(is_rate, ends)):
        return None
    counts = [figures.get(key) for key in ("bona_fide", "spoof")]
    if any(isinstance(count, int) and count < FEWEST_FOR_INTERVAL for count in counts):
        return None
    return float(ends[0]), float(ends[1])


def is_rate(value: Any) -> bool:
    """Whether it is a fraction."""
    return is_change(value) and value >= 0


def is_change(value: Any) -> bool:
    """Whether it is a difference of fractions."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1 <= value <= 1
