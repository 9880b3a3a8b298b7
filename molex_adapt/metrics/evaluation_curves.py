"""What plots of an evaluation show: DET curves, the Bayes error rate over the prior, reliability, histograms.

Shapes: n utterances, N bona fide, M spoof, V points of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.metrics.curve import Floats, checked_scores, det_curve

Points = list[tuple[float, float]]

_DET_POINTS, _BINS, _MOST_KNOTS = 200, 50, 400
_LOG_ODDS = np.linspace(-7, 7, 113)
"""Of bona fide speech against spoofs, costs included; ASVspoof 5 is at 0.64."""
_OUTLIERS = 0.5
"""Per cent of scores at either end that share the outermost bins."""


@dataclass(frozen=True, slots=True)
class EvaluationCurves:
    """How the scores lie."""

    det: dict[str, Points]
    """By attack, false alarms and misses from accepting all to refusing all; under the empty name, of all spoofs."""
    bayes_error: list[tuple[float, float, float]]
    """Prior log odds of bona fide speech, error rate of Bayes decisions on the scores, and the least that any threshold
    gives."""
    reliability: Points
    """Scores, and the log-likelihood ratio in nats that the labels show there; in order."""
    edges: list[float]
    """Of the bins of both histograms."""
    bona_fide: list[int]
    spoof: list[int]
    """Counts by bin."""


def curves_of(
    scores: ArrayLike, is_bona_fide: NDArray[np.bool_], attacks: Sequence[str | None]
) -> EvaluationCurves:
    """Take the curves of (n,) scores in nats, with (n,) labels and attacks.

    Raises:
        DataError: a class is missing, or a score is not finite.

    Source: own; Brümmer and du Preez 2006 (Bayes error), Zadrozny and Elkan 2002 (pool-adjacent-violators).
    """
    values = np.asarray(scores, dtype=np.float64)
    real, fake = checked_scores(values[is_bona_fide], values[~is_bona_fide])
    names = np.array([name or "" for name in attacks], dtype=object)
    found = sorted({str(name) for name in names[~is_bona_fide] if name})
    parts = {"": fake} | {name: values[~is_bona_fide & (names == name)] for name in found}
    edges, counts = _histograms(real, fake)
    return EvaluationCurves(
        det={name: thinned_det(real, own, _DET_POINTS) for name, own in parts.items()},
        bayes_error=bayes_error(real, fake),
        reliability=reliability(real, fake),
        edges=edges.tolist(),
        bona_fide=counts[0],
        spoof=counts[1],
    )


def _histograms(real: Floats, fake: Floats) -> tuple[Floats, list[list[int]]]:
    """Edges that hold nearly all scores, and the counts of both classes between them."""
    # Differences of scores beyond this would overflow.
    classes = [np.clip(scores, -1e100, 1e100) for scores in (real, fake)]
    low, high = np.percentile(np.concatenate(classes), [_OUTLIERS, 100 - _OUTLIERS])
    edges = np.linspace(low, max(high, low + max(1e-6, 1e-9 * abs(low))), _BINS + 1)
    return edges, [np.histogram(np.clip(own, edges[0], edges[-1]), edges)[0].tolist() for own in classes]


def thinned_det(real: Floats, fake: Floats, points: int) -> Points:
    """False alarms and misses at up to so many thresholds, evenly spread on axes of normal deviates."""
    from scipy.special import ndtri

    curve = det_curve(real, fake)
    floor = 0.5 / max(real.size, fake.size)
    along = ndtri(np.clip(curve.miss, floor, 1 - floor)) - ndtri(np.clip(curve.false_alarm, floor, 1 - floor))
    wanted = np.linspace(along[0], along[-1], points)
    at = np.unique(np.searchsorted(along, wanted).clip(0, along.size - 1))
    return list(zip(curve.false_alarm[at].tolist(), curve.miss[at].tolist(), strict=True))


def bayes_error(real: Floats, fake: Floats, log_odds: Floats = _LOG_ODDS) -> list[tuple[float, float, float]]:
    """Error rates of decisions at the Bayes threshold of each prior, and at the best one; from (N,) and (M,) scores."""
    curve = det_curve(real, fake, ties="step")
    prior = 1 / (1 + np.exp(-log_odds))
    missed = np.searchsorted(np.sort(real), -log_odds) / real.size
    accepted = 1 - np.searchsorted(np.sort(fake), -log_odds) / fake.size
    actual = prior * missed + (1 - prior) * accepted
    least = [float((own * curve.miss + (1 - own) * curve.false_alarm).min()) for own in prior]
    return list(zip(log_odds.tolist(), actual.tolist(), least, strict=True))


def reliability(real: Floats, fake: Floats) -> Points:
    """The rising step function of the score that fits the labels best, as log-likelihood ratios in nats.

    Steps that hold one class alone are left out, for their ratio is infinite.
    """
    from scipy.optimize import isotonic_regression

    values, at = np.unique(np.concatenate((real, fake)), return_inverse=True)
    reals = np.bincount(at[: real.size], minlength=values.size)
    total = np.bincount(at, minlength=values.size)
    share = isotonic_regression(reals / total, weights=total).x
    inside = np.flatnonzero((share > 0) & (share < 1))
    if not inside.size:
        return []
    # Both ends of every step.
    ends = np.flatnonzero(np.diff(share[inside]) > 1e-12)
    knots = inside[np.unique(np.concatenate(([0], ends, ends + 1, [inside.size - 1])))]
    kept = knots[np.unique(np.linspace(0, knots.size - 1, min(knots.size, _MOST_KNOTS)).astype(int))]
    ratios = np.log(share[kept] / (1 - share[kept])) - np.log(real.size / fake.size)
    return list(zip(values[kept].tolist(), ratios.tolist(), strict=True))
