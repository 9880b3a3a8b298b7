"""Affine calibration of scores to log-likelihood ratios in nats: s' = scale * s + offset.

It keeps the order of scores, and so EER and minDCF. actDCF and Cllr change.

Shapes: N bona fide, M spoof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats, checked_scores

_MOST_STEPS = 100
_GRADIENT_DONE = 1e-10
FEWEST_OF_GAUSSIAN = 4
"""Bona fide scores below which nothing is said of their spread."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """s' = scale * s + offset, scale > 0; s' is a log-likelihood ratio in nats, higher is more bona fide."""

    scale: float
    offset: float

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise DataError(
                f"Calibration with scale {self.scale} and offset {self.offset} is unusable. Expected a "
                "positive scale and finite values, which keep the order of scores. Fit it again."
            )

    @classmethod
    def identity(cls) -> Calibration:
        """The calibration that changes nothing."""
        return cls(scale=1.0, offset=0.0)

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Calibrate scores of any shape; NaN stays NaN."""
        return self.scale * np.asarray(scores, dtype=np.float64) + self.offset

    @classmethod
    def fit(
        cls,
        bona_fide: ArrayLike,
        spoof: ArrayLike,
        *,
        weights: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Calibration:
        """Fit by prior-weighted logistic regression on a development set.

        Minimises Cllr: the expected logarithmic cost of the calibrated scores when both classes have the same
        probability, whatever their numbers are. One fit serves every operating point. Another prior, such as the
        effective one of the ASVspoof 5 costs (0.655, a threshold 0.64 nats away), would trade a little Cllr for a
        little actDCF, and tie the stored scores to one set of costs.

        Separable scores have no finite optimum: any scale can be doubled. So the targets are not 1 and 0 but
        (N + 1) / (N + 2) and 1 / (M + 2): N utterances without an error show an error rate near 1 / N, not 0,
        and the scores of a class do not claim much more than log(N) nats on average. On sets with errors the
        effect shrinks as 1 / N. This is Laplace's rule of succession; it has no unit and no setting. A set that the
        detector separates can therefore come out with a slightly higher Cllr than overconfident scores had on it.

        Args:
            bona_fide, spoof: (N,) and (M,) development scores.
            weights: (N,) and (M,) positive weights of the scores within their class, of any total; all alike
                without them. They let every domain count the same, however many scores it has.

        Raises:
            DataError: unusable scores or weights, or bona fide scores that are on average not above the spoof scores:
                the best scale would be zero or negative.

        Source: own; Brümmer and du Preez 2006 (prior weighting), Platt 1999 (targets).
        """
        real, fake = checked_scores(bona_fide, spoof)
        shares = _shares(weights, real, fake)
        _require_direction(real, fake, shares)
        centre = float(shares[0] @ real + shares[1] @ fake) / 2
        spread = _spread(real, fake, centre)
        scale, offset = _newton((real - centre) / spread, (fake - centre) / spread, shares)
        # The fit was made on standardised scores; this is the same map of the scores as they are.
        return cls(scale=scale / spread, offset=offset - scale * centre / spread)

    @classmethod
    def of_gaussians(cls, bona_fide: ArrayLike, spoof: ArrayLike) -> Calibration:
        """The log-likelihood ratio of two Gaussians that both spread as bona fide speech does.

        For a score that is one of many, of which the lowest decides. `fit` hardly claims more than log(N) nats, so
        that real speech stands near that limit by each of many detectors, also by those that tell their attack with
        ease, and some always falls below by chance. Here the nats grow with the square of the distance between
        the classes. What makes real speech fall is the spread of its own scores, whatever that of the attack is.

        Args:
            bona_fide, spoof: (N,) and (M,) scores of recordings that were not learnt from. The spread is that which N
                recordings lead one to expect of the next one: with few of them it is wider than their own.

        Raises:
            DataError: unusable scores, fewer than four bona fide ones or all alike, or bona fide scores that are on
                average not above the spoof scores.

        Source: own; the variance of a Gaussian's predictive distribution (Student's t).
        """
        real, fake = checked_scores(bona_fide, spoof)
        _require_direction(real, fake, _shares(None, real, fake))
        _spread(real, fake, float(real.mean() + fake.mean()) / 2)
        if real.size < FEWEST_OF_GAUSSIAN or not float(real.var()) > 0:
            raise DataError(
                f"Cannot calibrate by the spread of {real.size} bona fide score(s). Expected at least "
                f"{FEWEST_OF_GAUSSIAN} that differ."
            )
        variance = float(real.var(ddof=1)) * (1 + 1 / real.size) * (real.size - 1) / (real.size - 3)
        scale = float(real.mean() - fake.mean()) / variance
        return cls(scale=scale, offset=-scale * float(real.mean() + fake.mean()) / 2)


def _shares(weights: tuple[ArrayLike, ArrayLike] | None, real: Floats, fake: Floats) -> tuple[Floats, Floats]:
    """Weights within each class, each summing to 1."""
    if weights is None:
        return np.full(real.size, 1 / real.size), np.full(fake.size, 1 / fake.size)
    given = tuple(np.asarray(own, dtype=np.float64) for own in weights)
    if any(
        own.shape != scores.shape or not np.isfinite(own).all() or (own <= 0).any()
        for own, scores in zip(given, (real, fake), strict=True)
    ):
        raise DataError(
            f"Calibration weights of shapes {given[0].shape} and {given[1].shape} for {real.size} bona fide and "
            f"{fake.size} spoof scores. Expected one positive, finite weight per score."
        )
    return given[0] / given[0].sum(), given[1] / given[1].sum()


def _require_direction(real: Floats, fake: Floats, shares: tuple[Floats, Floats]) -> None:
    """Refuse sets with the wrong order: the optimal scale has exactly the sign of the difference of class means."""
    means = float(shares[0] @ real), float(shares[1] @ fake)
    if means[0] <= means[1]:
        raise DataError(
            f"Cannot calibrate: the development set's bona fide scores average {means[0]:.6g} "
            f"({real.size} utterances), its spoof scores {means[1]:.6g} ({fake.size}). Expected bona fide "
            "above spoof, since higher means more bona fide. Check the labels and the sign of the scores; "
            "if both are right, the detector does not separate this set and needs training first."
        )


def _spread(real: Floats, fake: Floats, centre: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        spread = math.sqrt((np.mean((real - centre) ** 2) + np.mean((fake - centre) ** 2)) / 2)
    if not 1e-100 < spread < 1e100:
        raise DataError(
            f"Cannot calibrate: the development scores spread over {spread:.3g} around {centre:.6g}. "
            "Expected scores that a float can square. Look for a broken score in the development set."
        )
    return spread


def _newton(real: Floats, fake: Floats, shares: tuple[Floats, Floats]) -> tuple[float, float]:
    """Minimise the convex cost in (scale, offset) by Newton's method. Steps that do not descend are halved."""
    scores = np.concatenate((real, fake))
    design = np.stack((scores, np.ones_like(scores)))  # (2, N + M)
    weights = np.concatenate(shares) / 2
    targets = np.repeat(((real.size + 1) / (real.size + 2), 1 / (fake.size + 2)), (real.size, fake.size))

    def cost(point: Floats) -> float:
        odds = point @ design
        return float(weights @ (np.logaddexp(0.0, odds) - targets * odds))

    point = np.array([1.0, 0.0])
    for _ in range(_MOST_STEPS):
        # The logistic function by way of tanh, which does not overflow.
        posterior = 0.5 * (1 + np.tanh(point @ design / 2))
        gradient = design @ (weights * (posterior - targets))
        if np.abs(gradient).max() < _GRADIENT_DONE:
            return float(point[0]), float(point[1])
        curvature = (design * (weights * posterior * (1 - posterior))) @ design.T
        # Far out both classes are saturated and the curvature vanishes; the ridge keeps the matrix invertible.
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        now = cost(point)
        while cost(point - step) > now and np.abs(step).max() > 1e-14:
            step = step / 2
        point = point - step
    raise DataError(
        f"Calibration did not converge in {_MOST_STEPS} steps (gradient {np.abs(gradient).max():.3g}). "
        "Expected scores of one scale. Look for a few extreme scores in the development set."
    )
