"""Least squares in closed form over frozen readings, a domain at a time: random features, their moments, the recursion.

Shapes: N recordings, R readings, M random features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.sequence.methods.state import State, copied, packed, unpacked
from molex_adapt.detector import Detector
from molex_adapt.features import Features, readings_of

_CLIP = 6.0


def raw_readings(detector: Detector, features: Features) -> Tensor:
    """(N, R) double: what the readout reads, statistics of the spectrum and pooled states of the frozen base.

    Statistics are NaN where a recording has none.
    """
    return torch.cat(readings_of(detector, features).views, dim=1).double()


@dataclass
class RandomFeatures:
    """Readings standardised as those of the first domain, times a random matrix, rectified.

    The matrix follows from the seed and is not stored. Source: RanPAC (arXiv 2307.02251).
    """

    seed: int
    size: int = 2000
    centre: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    spread: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.float64))
    _matrix: Tensor | None = None

    def standardise(self, raw: Tensor) -> None:
        """Decide on centre and spread, once, from (N, R)."""
        if len(self.centre):
            return
        self.centre = raw.nanmean(0).nan_to_num()
        deviation = (raw - self.centre).square().nanmean(0).sqrt()
        self.spread = deviation.nan_to_num(1.0).clamp(min=1e-3)

    def __call__(self, raw: Tensor) -> Tensor:
        """(N, R) to (N, M) double. What is missing is taken for the mean; outliers are clipped as by the readout."""
        rows = ((raw - self.centre) / self.spread).nan_to_num().clamp(-_CLIP, _CLIP)
        if self._matrix is None:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = torch.randn(len(self.centre), self.size, generator=generator)
            self._matrix = drawn.double() / len(self.centre) ** 0.5
        return (rows @ self._matrix).relu()

    def state(self) -> State:
        """Centre and spread."""
        return {"centre": copied(self.centre), "spread": copied(self.spread)}

    def go_on(self, state: State) -> None:
        """Take them."""
        self.centre, self.spread = state["centre"], state["spread"]


@dataclass
class Moments:
    """Sums of outer products: of features (M, M), and of features and classes (M, K). Domains may come in any order."""

    gram: Tensor
    cross: Tensor

    @classmethod
    def none(cls, size: int) -> Moments:
        """Of nothing."""
        return cls(torch.zeros(size, size).double(), torch.zeros(size, 0).double())

    def add(self, features: Tensor, classes: Tensor) -> None:
        """(N, M) and (N, K) of further recordings; K may grow."""
        grown = classes.shape[1] - self.cross.shape[1]
        self.gram = self.gram + features.T @ features
        self.cross = torch.nn.functional.pad(self.cross, (0, grown)) + features.T @ classes

    def solve(self, ridge: float) -> Tensor:
        """(M, K) weights of ridge regression on everything that was added.

        Raises:
            LinAlgError: the ridge is too small for these moments (numpy's).
        """
        held = self.gram + ridge * torch.eye(len(self.gram)).double()
        factor, fault = torch.linalg.cholesky_ex(held)
        if fault:
            raise np.linalg.LinAlgError(f"moments cannot be solved with a ridge of {ridge:g}")
        return torch.cholesky_solve(self.cross, factor)

    def state(self) -> State:
        """Half of the one, and the other."""
        return {"gram": packed(self.gram), "cross": copied(self.cross)}

    def go_on(self, state: State) -> None:
        """Take them."""
        self.gram, self.cross = unpacked(state["gram"]), state["cross"]


@dataclass
class Recursion:
    """Ridge regression by recursive least squares (Any-SSR, arXiv 2503.13575): no sum of former recordings is kept.

    Attributes:
        inverse: (M, M), of the features' moments plus the ridge.
        weights: (M, K).
    """

    inverse: Tensor
    weights: Tensor

    @classmethod
    def none(cls, ridge: float, size: int) -> Recursion:
        """Of nothing."""
        return cls(torch.eye(size).double() / ridge, torch.zeros(size, 0).double())

    def learn(self, features: Tensor, classes: Tensor) -> None:
        """(N, M) and (N, K) of further recordings; K may grow."""
        grown = classes.shape[1] - self.weights.shape[1]
        weights = torch.nn.functional.pad(self.weights, (0, grown))
        led = self.inverse @ features.T
        inner = torch.eye(len(features)).double() + features @ led
        inverse = self.inverse - led @ torch.linalg.solve(inner, led.T)
        self.inverse = (inverse + inverse.T) / 2  # rounding would add up
        self.weights = weights + self.inverse @ features.T @ (classes - features @ weights)

    def state(self) -> State:
        """Half of the one, and the other."""
        return {"inverse": packed(self.inverse), "weights": copied(self.weights)}

    def go_on(self, state: State) -> None:
        """Take them."""
        self.inverse, self.weights = unpacked(state["inverse"]), state["weights"]
