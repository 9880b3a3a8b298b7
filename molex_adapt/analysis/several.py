"""Several processes on one corpus: each observes a part, and every one of them has the whole of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from molex_adapt.analysis.observe import observe_table
from molex_adapt.analysis.observed import Observed
from molex_adapt.data import Failed, Table
from molex_adapt.data.alike import require_alike
from molex_adapt.detector import Detector
from molex_adapt.processes import gathered, place
from molex_adapt.run import Run


def observe_together(
    detector: Detector, table: Table, run: Run, *, ablate: bool = False
) -> tuple[Observed, tuple[Failed, ...]]:
    """The whole of what `observe_table` sees in parts.

    Raises:
        ExpertError: there is no expert.
        DataError: another process has other recordings.
    """
    require_alike(table)
    return joined(table, *observe_table(detector, table, run, ablate=ablate, part=place()))


def joined(table: Table, observed: Observed, failed: Sequence[Failed]) -> tuple[Observed, tuple[Failed, ...]]:
    """What all processes saw of a table, exactly, and what failed in the order of the table."""
    parts = gathered((observed, list(failed)))
    order = {str(item.path): at for at, item in enumerate(table)}
    lost = sorted((item for _, part in parts for item in part), key=lambda item: order[item.path])
    return reduce(Observed.merge, [seen for seen, _ in parts]), tuple(lost)
