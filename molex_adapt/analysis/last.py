"""What the last expert that was added changed, as its generation recorded it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molex_adapt.analysis.flat import DomainChange
from molex_adapt.registry import GenerationRecord


def last_expert(history: Sequence[GenerationRecord], number: int | None) -> list[DomainChange]:
    """EER by domain before and after the newest expert among the ancestors of a generation, itself included.

    Empty where no expert was added to others, or nothing was measured then.
    """
    known = {record.number: record for record in history}
    record = known.get(number) if number is not None else None
    while record is not None:
        parent = None if record.parent is None else known.get(record.parent)
        if parent is not None and set(record.names) - set(parent.names):
            pairs = (
                (domain, record.metrics.get(domain), change) for domain, change in record.changes.items()
            )
            return [item for domain, figures, change in pairs if (item := _read(domain, figures, change))]
        record = parent
    return []


def _read(domain: str, figures: Any, change: Any) -> DomainChange | None:
    """None where the record lacks a figure."""
    after, rise = (_rate(item, "eer") for item in (figures, change))
    if after is None or rise is None:
        return None
    interval = change.get("eer_ci") if isinstance(change, Mapping) else None
    ends = tuple(interval) if isinstance(interval, list) and len(interval) == 2 else None
    return DomainChange(domain, min(1.0, max(0.0, after - rise)), after, ends)


def _rate(item: Any, key: str) -> float | None:
    value = item.get(key) if isinstance(item, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
