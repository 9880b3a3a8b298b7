"""What every method offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.sequence.domains import Measured
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import logits_of
from molex_adapt.progress import Progress
from molex_adapt.recipe import Recipe
from molex_adapt.train.prepare import DomainData

Scores = NDArray[np.float64]
Known = Sequence[tuple[str, DomainData]]
"""Domains that were learnt, in order."""


@dataclass(frozen=True)
class Setting:
    """What a method is made with: all methods of a run have the same.

    Attributes:
        base: folder of the frozen base.
        recipe: rank, head, precision, learning rates, steps, batch.
        domains: how many are to be learnt.
        seed: decides all chance.
        progress: listener.
        keep: bytes of data (features to replay) that a method with replay may keep of one domain; the same for all.
    """

    base: Path
    recipe: Recipe
    domains: int
    seed: int
    progress: Progress
    keep: int


@dataclass(frozen=True)
class Learnt:
    """What one step cost.

    Attributes:
        trainable: weights that moved.
        stored: bytes that the step added to what must be stored, weights in half precision and data.
        kept: of these, bytes of data from which speech could be rebuilt.
    """

    trainable: int
    stored: int
    kept: int


class Method(Protocol):
    """Learns one domain after the other, and scores at any time."""

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Learn a domain; earlier domains' data is gone, but for what the method itself kept."""

    def scores(self, measured: Measured) -> Scores:
        """(N,) in nats, higher is more bona fide.

        Calibrated on what the method may see: the last domain's development split, and what it kept of former ones.
        """

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, but the data of domains."""

    def go_on(self, state: dict[str, Tensor], learnt: Known) -> None:
        """Take up a state after these domains."""


def scores_of(detector: Detector, measured: Measured) -> Scores:
    """Calibrated scores of a detector."""
    found: Scores = detector.calibration.apply(logits_of(detector, measured.features).double().numpy())
    return found


def calibrated(scores: Scores, bona_fide: Tensor, former: Calibration) -> Calibration:
    """A calibration of (N,) scores of a development split; the former one where they do not separate."""
    real = bona_fide.numpy()
    try:
        return Calibration.fit(scores[real], scores[~real])
    except DataError:
        return former
