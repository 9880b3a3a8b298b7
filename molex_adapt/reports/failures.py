"""Recordings that could not be used, in every report the same."""

from __future__ import annotations

from collections.abc import Iterable

from molex_adapt.data.table import Failed


def failures(failed: Iterable[Failed]) -> list[dict[str, str]]:
    """As JSON values."""
    return [{"path": item.path, "reason": item.reason} for item in failed]
