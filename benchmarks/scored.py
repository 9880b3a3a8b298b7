"""Figures of scored recordings: each attack under each condition, and real speech by voice.

Shapes: N recordings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import DRAWN, NO_CONDITION
from molex_adapt.data import Utterance
from molex_adapt.metrics import Ties, eer, eer_interval, resampled_eers

TIES: Ties = "step"
"""Equal scores are accepted or refused together."""
RESAMPLES = 200
"""Of the test sources, for intervals of means and of differences between detectors."""
CONDITIONS = (NO_CONDITION, DRAWN)

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Recordings and their scores (N,) in nats; higher is more bona fide."""

    rows: tuple[Utterance, ...]
    scores: Scores

    def under(self, condition: str) -> Scored:
        """Those in one condition."""
        return self.where([row.condition == condition for row in self.rows])

    def where(self, mask: Sequence[bool]) -> Scored:
        """Some of them."""
        at = np.flatnonzero(mask)
        return Scored(tuple(self.rows[i] for i in at), self.scores[at])

    @property
    def sources(self) -> list[str]:
        """Of each."""
        return [row.source for row in self.rows]


Tested = Mapping[str, tuple[Scored, Scored]]
"""By attack, bona fide and forged recordings."""


def compared(tested: Tested, threshold: float | None = None) -> dict[str, Any]:
    """By condition: EER of each attack with its interval, what is accepted, their mean and its resamples.

    `resampled` are hundredths of a per cent, of the same resamples for all detectors.
    """
    found: dict[str, Any] = {}
    for condition in CONDITIONS:
        pairs = {
            name: (real.under(condition), forged.under(condition)) for name, (real, forged) in tested.items()
        }
        sets = [
            (real.scores, forged.scores, (real.sources, forged.sources)) for real, forged in pairs.values()
        ]
        rates = {
            name: {
                "eer": eer(real.scores, forged.scores, ties=TIES),
                "ci": eer_interval(
                    real.scores, forged.scores, groups=(real.sources, forged.sources), ties=TIES
                ),
                "accepted": None if threshold is None else float((forged.scores >= threshold).mean()),
                "recordings": len(forged.rows),
            }
            for name, (real, forged) in pairs.items()
        }
        drawn = resampled_eers(sets, bootstrap=RESAMPLES, ties=TIES)
        found[condition] = {
            "attacks": rates,
            "mean": float(np.mean([rate["eer"] for rate in rates.values()])),
            "resampled": np.rint(1e4 * drawn.mean(0)).astype(int).tolist(),
        }
    return found


def refused(real: Scored, threshold: float) -> dict[str, Any]:
    """Share of bona fide recordings below the threshold, in all and by voice with their number."""
    below = real.scores < threshold
    voices: dict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(real.rows, below.tolist(), strict=True):
        voices[row.speaker or row.source].append(hit)
    return {
        "refused": float(below.mean()),
        "recordings": len(below),
        "voices": {name: [len(hits), sum(hits) / len(hits)] for name, hits in sorted(voices.items())},
    }
