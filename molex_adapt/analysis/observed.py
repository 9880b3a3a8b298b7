"""What a pass over recordings saw, and how the parts of several processes become one.

Shapes: N recordings, M of them profiled, S of them ablated; A witnesses of the readout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.corpus import Indices
from molex_adapt.analysis.tally import Tally


@dataclass(frozen=True)
class Observed:
    """What a pass saw of a corpus, on the CPU. Scores are in nats.

    Attributes:
        tally: sums by row of the corpus.
        seen: (N,) bool, whether a recording could be read; of others, scores are NaN.
        scores: (N,) log-likelihood ratios.
        bare: (N,) the same without any expert.
        told: (N,) what the readout adds; it is part of both.
        profiled: (M,) indices into the corpus, of those that were seen.
        gates: (M, L, E) float32, their gates after top-k.
        before: (M, L, E) float32, the same before top-k.
        spectrum: (M, statistics) float32 of the low-level view; NaN where there is no readout.
        ablated: (S,) indices into the corpus, of those that were seen; empty where no expert was switched off.
        without: (S, E, 2) scores without each expert, its gates going to the others, and to nobody.
        witnesses: EXPERT/ATTACK of each.
        witnessed: (M, A) what each says, log-likelihood ratios in nats.
        silenced: (M, A) scores if it said nothing.
        longer: how many of the recordings go on after their first window, which alone was heard.
    """

    tally: Tally
    seen: NDArray[np.bool_]
    scores: NDArray[np.float64]
    bare: NDArray[np.float64]
    told: NDArray[np.float64]
    profiled: Indices
    gates: NDArray[np.float32]
    before: NDArray[np.float32]
    spectrum: NDArray[np.float32]
    ablated: Indices
    without: NDArray[np.float64]
    witnesses: tuple[str, ...]
    witnessed: NDArray[np.float64]
    silenced: NDArray[np.float64]
    longer: int = 0

    def merge(self, other: Observed) -> Observed:
        """What two passes over separate parts of one corpus saw together, exactly."""
        at, own = (
            np.concatenate([self.profiled, other.profiled]),
            np.concatenate([self.ablated, other.ablated]),
        )
        order, place = np.argsort(at), np.argsort(own)

        def joined(name: str, by: Indices) -> Any:
            return np.concatenate([getattr(self, name), getattr(other, name)])[by]

        found: dict[str, Any] = {
            name: np.where(self.seen, getattr(self, name), getattr(other, name))
            for name in ("scores", "bare", "told")
        }
        found |= {
            name: joined(name, order) for name in ("gates", "before", "spectrum", "witnessed", "silenced")
        }
        return replace(
            self,
            tally=self.tally.merge(other.tally),
            seen=self.seen | other.seen,
            profiled=at[order],
            ablated=own[place],
            without=joined("without", place),
            longer=self.longer + other.longer,
            **found,
        )
