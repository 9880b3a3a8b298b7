"""From a score to what may be said of a recording: bona fide, spoof, or that it cannot be told.

A score is a log-likelihood ratio s in nats. With a prior P of bona fide speech, the probability of bona fide speech is
1 / (1 + exp(-(s + log(P / (1 - P))))). The decision is made at the threshold t of the generation, whatever the prior;
t is the best threshold where the odds of bona fide speech are exp(-t), and there a decision at s is wrong with
probability 1 / (1 + exp(|s - t|)). Nearer to the threshold than a stated rate of error allows, nothing is decided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from molex_adapt.errors import DataError

Outcome = Literal["bona_fide", "spoof", "cannot_tell"]

EVEN_PRIOR = 0.5
"""Bona fide speech as likely as forged; what a score means without further knowledge."""
MOST_ERROR = 0.3
"""A decision that is wrong more often than three times in ten is none: 0.85 nats on either side of the threshold."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How scores are read.

    Attributes:
        threshold: in nats; at least this score is bona fide. None: there is none, and nothing is decided.
        prior: probability of bona fide speech before listening.
        error: the largest probability of error at which something is decided; None decides in every case.
    """

    threshold: float | None
    prior: float = EVEN_PRIOR
    error: float | None = MOST_ERROR

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise DataError(
                f"a prior of {self.prior} leaves nothing to decide. Expected a probability of bona fide speech between "
                "0 and 1, such as 0.5 or 0.99."
            )
        if self.error is not None and not 0 < self.error <= 0.5:
            raise DataError(
                f"a rate of error of {self.error} cannot be asked for. Expected one above 0 and up to 0.5, which "
                "decides in every case."
            )

    @property
    def band(self) -> float:
        """How near to the threshold nothing is decided, in nats."""
        return 0.0 if self.error is None else math.log((1 - self.error) / self.error)

    def probability(self, score: float) -> float:
        """Of bona fide speech, given the score and the prior."""
        odds = score + math.log(self.prior / (1 - self.prior))
        return 0.5 * (1 + math.tanh(odds / 2))

    def outcome(self, score: float, *, outside: bool = False) -> Outcome | None:
        """What is decided; None without a threshold.

        Args:
            score: in nats.
            outside: the recording is outside what the detector learnt from, so that its score tells little.
        """
        if self.threshold is None:
            return None
        if self.error is not None and (outside or abs(score - self.threshold) < self.band):
            return "cannot_tell"
        return "bona_fide" if score >= self.threshold else "spoof"
