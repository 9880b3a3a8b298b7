"""The error curve of two sets of scores, and the figures that follow from it.

There is one decision rule: a score at or above the threshold is accepted as bona fide.

Shapes: N bona fide, M spoof, V points of the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.errors import DataError

Ties: TypeAlias = Literal["asvspoof5", "step"]
"""How equal scores count: `asvspoof5` takes them one by one, bona fide first, in the order of the ASVspoof 5 package;
`step` takes them together, as a threshold does."""

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of both errors, and the expected share of spoofs.

    Source: ASVspoof 5 evaluation plan; `p_spoof` is a probability, costs are relative.
    """

    p_spoof: float
    c_miss: float
    c_fa: float

    def __post_init__(self) -> None:
        positive = self.c_miss > 0 and self.c_fa > 0 and math.isfinite(self.c_miss + self.c_fa)
        if not (0 < self.p_spoof < 1 and positive):
            raise DataError(
                f"Decision costs p_spoof={self.p_spoof}, c_miss={self.c_miss}, c_fa={self.c_fa} are "
                "unusable: p_spoof must lie between 0 and 1, both costs must be positive and finite. "
                "ASVspoof 5 uses p_spoof=0.05, c_miss=1, c_fa=10."
            )

    @property
    def miss_weight(self) -> float:
        """Expected cost of rejecting every bona fide utterance."""
        return self.c_miss * (1 - self.p_spoof)

    @property
    def false_alarm_weight(self) -> float:
        """Expected cost of accepting every spoof."""
        return self.c_fa * self.p_spoof

    @property
    def default_cost(self) -> float:
        """Cost of the better one of the two decisions without listening; DCFs are divided by it."""
        return min(self.miss_weight, self.false_alarm_weight)

    @property
    def bayes_threshold(self) -> float:
        """Threshold in nats that is optimal for calibrated log-likelihood ratios (-0.642 for ASVspoof 5)."""
        return -math.log(self.miss_weight / self.false_alarm_weight)


ASVSPOOF5 = Costs(p_spoof=0.05, c_miss=1.0, c_fa=10.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """Operating points in order of rising threshold."""

    miss: Floats
    """(V,) share of bona fide rejected, from 0 to 1."""
    false_alarm: Floats
    """(V,) share of spoofs accepted, from 1 to 0."""
    thresholds: Floats
    """(V,) a threshold for each point, midway between neighbouring scores: rounding in a score then does not move it
    to the other side. On an `asvspoof5` curve, points between equal scores have none."""

    def equal_error_index(self) -> int:
        """First point where miss and false alarm are closest."""
        return int(np.argmin(np.abs(self.miss - self.false_alarm)))


def det_curve(bona_fide: ArrayLike, spoof: ArrayLike, *, ties: Ties = "asvspoof5") -> Curve:
    """Miss and false-alarm rate at every threshold that changes a decision.

    Takes (N,) and (M,) scores; gives a `Curve` of N + M + 1 points, or (distinct scores + 1) for `step`.

    Raises:
        DataError: a class is empty, or a score is NaN or infinite.

    Source: own; definition of the ASVspoof 5 package's DET curve.
    """
    real, fake = checked_scores(bona_fide, spoof)
    real_at, fake_at, values = curve_positions(real, fake, ties)
    rejected = np.cumsum(np.bincount(real_at, minlength=values.size)) / real.size
    accepted = (fake.size - np.cumsum(np.bincount(fake_at, minlength=values.size))) / fake.size
    return Curve(
        miss=np.concatenate(([0.0], rejected)),
        false_alarm=np.concatenate(([1.0], accepted)),
        thresholds=_thresholds(values),
    )


def eer(bona_fide: ArrayLike, spoof: ArrayLike, *, ties: Ties = "asvspoof5") -> float:
    """Equal error rate as a fraction: mean of the two rates where they are closest.

    Nothing is flipped: scores of the wrong sign give an EER above 0.5. Arguments, errors: see `det_curve`.
    Source: own; definition of the ASVspoof 5 package.
    """
    curve = det_curve(bona_fide, spoof, ties=ties)
    at = curve.equal_error_index()
    return float((curve.miss[at] + curve.false_alarm[at]) / 2)


def eer_threshold(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """Threshold of the equal error rate; `error_rates` at it gives the two rates whose mean is `eer(ties="step")`.

    Ties are read as a `step`: the package's points between equal scores have no threshold. Raises: see
    `det_curve`. Source: own. (The package returns the highest rejected score instead, at which its own
    decision rule would accept that score.)
    """
    curve = det_curve(bona_fide, spoof, ties="step")
    return float(curve.thresholds[curve.equal_error_index()])


def error_rates(bona_fide: ArrayLike, spoof: ArrayLike, threshold: float) -> tuple[float, float]:
    """Miss (bona fide below `threshold`) and false alarm (spoof at or above it), as fractions.

    Raises:
        DataError: see `det_curve`; also a NaN threshold.
    """
    real, fake = checked_scores(bona_fide, spoof)
    if math.isnan(threshold):
        raise DataError("The decision threshold is NaN. Expected a score. Fit it on a development set first.")
    return float(np.mean(real < threshold)), float(np.mean(fake >= threshold))


def min_dcf(bona_fide: ArrayLike, spoof: ArrayLike, *, costs: Costs = ASVSPOOF5) -> float:
    """Lowest normalised detection cost over all thresholds; 1 is as good as deciding blindly.

    Arguments, errors: see `det_curve`. Source: own; definition of the ASVspoof 5 package.
    """
    # The other reading of ties adds points that cost at least as much.
    curve = det_curve(bona_fide, spoof, ties="step")
    cost = costs.miss_weight * curve.miss + costs.false_alarm_weight * curve.false_alarm
    return float(cost.min() / costs.default_cost)


def act_dcf(bona_fide: ArrayLike, spoof: ArrayLike, *, costs: Costs = ASVSPOOF5) -> float:
    """Normalised detection cost at the Bayes threshold: scores are taken as log-likelihood ratios in nats.

    Arguments, errors: see `det_curve`. Source: own; definition of the ASVspoof 5 package.
    """
    miss, false_alarm = error_rates(bona_fide, spoof, costs.bayes_threshold)
    return (costs.miss_weight * miss + costs.false_alarm_weight * false_alarm) / costs.default_cost


def cllr(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """Log-likelihood-ratio cost in bits, of scores in nats; 0 is perfect, and scores that are all 0 get 1.

    Arguments, errors: see `det_curve`. Source: own; Brümmer and du Preez 2006, as in the ASVspoof 5 package,
    but without its overflow at large scores.
    """
    real, fake = checked_scores(bona_fide, spoof)
    nats = np.mean(np.logaddexp(0.0, -real)) + np.mean(np.logaddexp(0.0, fake))
    return float(nats / (2 * math.log(2)))


def checked_scores(bona_fide: ArrayLike, spoof: ArrayLike) -> tuple[Floats, Floats]:
    """Both sets as (N,) and (M,) float64.

    Raises:
        DataError: they are not numbers of one dimension, there are none, or one is not finite.
    """
    return _checked(bona_fide, "bona fide"), _checked(spoof, "spoof")


def curve_positions(
    real: Floats, fake: Floats, ties: Ties
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The place of each score on the curve: (N,) and (M,) indices into the (V,) ascending values.

    Raises:
        DataError: there is no such reading of ties.
    """
    if ties not in get_args(Ties):
        raise DataError(f"There is no reading of ties {ties!r}. Expected one of {', '.join(get_args(Ties))}.")
    # Bona fide first: the stable sort keeps that order among equal scores.
    scores = np.concatenate((real, fake))
    if ties == "step":
        values, at = np.unique(scores, return_inverse=True)
    else:
        order = np.argsort(scores, kind="stable")
        values, at = scores[order], np.empty(scores.size, dtype=np.intp)
        at[order] = np.arange(scores.size)
    return at[: real.size], at[real.size :], values


def _checked(scores: ArrayLike, kind: str) -> Floats:
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The {kind} scores are not numbers ({error}). Expected one number each.") from error
    if values.ndim != 1:
        raise DataError(
            f"The {kind} scores have shape {values.shape}. Expected one score per utterance, shape (n,). "
            "Flatten them, or take the bona fide column of a two-column output."
        )
    if not values.size:
        raise DataError(
            f"There are no {kind} scores. Expected both classes: without one, error rates do not exist. "
            "Check the labels and the selection of split, attack or codec."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"{bad.size} of {values.size} {kind} scores are not finite (first: {values[bad[0]]} at index "
            f"{bad[0]}). Expected finite scores. Find out why the detector failed there; do not replace them."
        )
    return values


def _thresholds(values: Floats) -> Floats:
    """(V + 1,) thresholds: accept all, one inside each gap, reject all."""
    low, high = values[:-1], values[1:]
    middle = low / 2 + high / 2  # the sum of two large scores would overflow
    # Between neighbouring floats there is no middle. The higher score accepts itself and rejects the lower one.
    inner = np.where(middle > low, middle, high)
    return np.concatenate((values[:1], inner, [np.nextafter(values[-1], np.inf)]))
