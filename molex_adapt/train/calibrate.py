"""The calibration and the frozen threshold of a mixture, from development splits in which every domain counts alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, concatenate, logits_of
from molex_adapt.metrics import eer_threshold
from molex_adapt.train.losses import scored_loss

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Old domains' development sets, and how a mixture scores them: (N,) of all together, calibrated, nats."""

    sets: Mapping[str, Features]
    scores: Scores

    def losses(self) -> dict[str, float]:
        """Per domain the logistic loss, both classes alike; nats."""
        found, start = {}, 0
        for domain, features in self.sets.items():
            end = start + len(features)
            found[domain] = scored_loss(self.scores[start:end], features.bona_fide)
            start = end
        return found


def score_development(detector: Detector, sets: Mapping[str, Features]) -> Scored:
    """As they score at this moment."""
    logits = _logits(detector, list(sets.values()))[0] if sets else np.zeros(0)
    return Scored(sets, detector.calibration.apply(logits))


def calibrate(
    detector: Detector, development: Sequence[Features], threshold: float = 0.0, held: Scored | None = None
) -> list[str]:
    """Fit the detector's calibration anew; the old one stays on failure.

    Args:
        detector: changed in place.
        development: of every domain.
        threshold: nats; what is held errs at it as it did.
        held: old domains as they scored before; None, or none of them, holds nothing.

    Returns:
        A remark where it failed.
    """
    try:
        found = fit_calibration(detector, development)
    except DataError as error:
        return [f"the calibration is as before: {error}"]
    if held is not None and held.sets:
        sets = list(held.sets.values())
        after, labels = _logits(detector, sets)
        boundary = holding_boundary(held.scores, after, labels, equal_weights(sets), threshold)
        found = held_at(found, threshold, boundary)
    detector.calibration = found
    return []


def fit_calibration(detector: Detector, development: Sequence[Features]) -> Calibration:
    """Logistic regression on the detector's logits.

    Raises:
        DataError: the development splits cannot be calibrated on.
    """
    logits, labels = _logits(detector, development)
    weights = np.concatenate([_equal_weights(features) for features in development])
    return Calibration.fit(logits[labels], logits[~labels], weights=(weights[labels], weights[~labels]))


def frozen_threshold(detector: Detector, development: Sequence[Features]) -> float:
    """Where a first mixture's development split errs alike on both sides; nats."""
    logits, labels = _logits(detector, development)
    scores = detector.calibration.apply(logits)
    return float(eer_threshold(scores[labels], scores[~labels]))


def held_at(calibration: Calibration, threshold: float, boundary: float) -> Calibration:
    """The same scale, with the offset that gives the logit `boundary` the score `threshold`."""
    return Calibration(calibration.scale, threshold - calibration.scale * boundary)


def holding_boundary(
    before: Scores, after: Scores, bona_fide: NDArray[np.bool_], weights: Scores, threshold: float
) -> float:
    """The logit at which old utterances err as they did: the deployed threshold keeps its error rates.

    Of all boundaries between the new logits it is the one with the smallest change of miss and false-alarm rate
    together; of several the one in the middle.

    Args:
        before: (N,) calibrated scores of the former mixture, nats.
        after: (N,) logits of the new one, same utterances.
        bona_fide: (N,), of both classes.
        weights: (N,), of each class summing to 1.
        threshold: nats.

    Source: own.
    """
    refused = before < threshold
    miss = float(weights[bona_fide & refused].sum())
    false_alarm = float(weights[~bona_fide & ~refused].sum())
    order = np.argsort(after, kind="stable")
    own, real = weights[order], bona_fide[order]
    # Boundary number i lies below the i-th logit: all before it are refused.
    misses = np.concatenate([[0.0], np.cumsum(np.where(real, own, 0.0))])
    alarms = 1.0 - np.concatenate([[0.0], np.cumsum(np.where(real, 0.0, own))])
    change = np.abs(misses - miss) + np.abs(alarms - false_alarm)
    best = np.flatnonzero(change <= change.min() + 1e-9)
    at = int(best[len(best) // 2])
    logits = after[order]
    edges = np.concatenate([[logits[0] - 1.0], (logits[1:] + logits[:-1]) / 2, [logits[-1] + 1.0]])
    return float(edges[at])


def equal_weights(development: Sequence[Features]) -> Scores:
    """(N,) over all sets together: every domain alike, each class summing to 1."""
    weights = np.concatenate([_equal_weights(features) for features in development])
    real = np.concatenate([features.bona_fide.numpy() for features in development])
    return np.asarray(weights / np.where(real, weights[real].sum(), weights[~real].sum()))


def _logits(detector: Detector, development: Sequence[Features]) -> tuple[Scores, NDArray[np.bool_]]:
    pooled = concatenate(list(development))
    return logits_of(detector, pooled).double().numpy(), pooled.bona_fide.numpy()


def _equal_weights(features: Features) -> Scores:
    """(N,), of each class summing to 1."""
    real = features.bona_fide.numpy()
    return np.asarray(np.where(real, 1 / max(1, real.sum()), 1 / max(1, (~real).sum())))
