"""Where the shipped detector is wrong: real recordings as they are, as any user would score them.

A cell is whether training or calibration heard the voices, and a number of recordings at even distances from all of
these voices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.plan import Cell, Plan
from molex_adapt.api import Registry
from molex_adapt.data import Table
from molex_adapt.demo.domains import find_speech

UNHEARD = "june"
"""The voice that neither training nor calibration heard; of the others, one was heard by calibration alone."""


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Share of real recordings that are called forged at the shipped threshold."""
    registry, speech = Registry.open("registry"), list(find_speech(None))
    for cell in cells:
        of_these = [item for item in speech if (item.speaker == UNHEARD) == (cell.method == "unheard")]
        count = min(int(cell.arguments[0]), len(of_these))
        chosen = [of_these[at * len(of_these) // count] for at in range(count)]
        report = registry.score(Table(tuple(chosen), "unprocessed"))
        threshold = report.threshold
        assert threshold is not None, "the shipped registry has a threshold"
        called = sum(item.score < threshold for item in report.scores)
        yield cell, {"called_spoof": called / len(report.scores), "recordings": len(report.scores)}
