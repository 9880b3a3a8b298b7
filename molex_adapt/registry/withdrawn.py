"""Which experts are withdrawn, by the rows of a router: their gates are closed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import CLOSED_GATE


def closed(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """(E,) which of the rows (E, D + 1) are of experts that are withdrawn, as `Router.withdrawn` says."""
    found: NDArray[np.bool_] = rows[:, -1] < -CLOSED_GATE / 2 * np.sqrt(rows.shape[1] - 1)
    return found
