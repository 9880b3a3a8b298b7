"""Figures of one set of recordings, in every report the same."""

from __future__ import annotations

from typing import Any

from molex_adapt.metrics import Rates


def figures(rates: Rates) -> dict[str, Any]:
    """As JSON values; `eer_ci` is None of too few recordings to tell an interval."""
    return rates.as_dict() | ({} if rates.has_interval else {"eer_ci": None})
