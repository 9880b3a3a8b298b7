"""Calibration of a mixture, from development splits in which every domain has the same weight; its frozen threshold."""

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
class DevelopmentScores:
    """Development sets of old domains, and the calibrated scores (N,) of all their utterances in one row, in nats."""

    sets: Mapping[str, Features]
    scores: Scores

    def losses(self) -> dict[str, float]:
        """Logistic loss of each domain, both classes with the same weight; nats."""
        found, start = {}, 0
        for domain, features in self.sets.items():
            end = start + len(features)
            found[domain] = scored_loss(self.scores[start:end], features.bona_fide)
            start = end
        return found


def score_development(detector: Detector, sets: Mapping[str, Features]) -> DevelopmentScores:
    """The sets with the scores that the detector gives them now."""
    logits = _logits(detector, list(sets.values()))[0] if sets else np.zeros(0)
    return DevelopmentScores(sets, detector.calibration.apply(logits))


def calibrate(
    detector: Detector,
    development: Sequence[Features],
    threshold: float = 0.0,
    held: DevelopmentScores | None = None,
) -> list[str]:
    """Fit the detector's calibration anew; where that fails, the old one stays, and a remark says so.

    Where development sets of old domains are `held`, with their scores before the change, they keep their error rates
    at the frozen threshold, in nats.
    """
    try:
        found = fit_calibration(detector, development)
    except DataError as error:
        return [f"the calibration is as before: {error}"]
    if held is not None and held.sets:
        sets = list(held.sets.values())
        after, labels = _logits(detector, sets)
        # The fit follows all domains, also the new one, and would move the old domains' errors at the frozen threshold.
        # The scale stays as fitted; the offset moves until old domains err as before.
        boundary = holding_boundary(held.scores, after, labels, equal_weights(sets), threshold)
        found = held_at(found, threshold, boundary)
    detector.calibration = found
    return []


def spare(detector: Detector, held: DevelopmentScores, threshold: float) -> None:
    """Keep the calibration, but raise its offset until no more of the held bona fide speech is refused than before.

    For a change that nothing of the old domains can be measured by: what they had as scores, they keep. Every further
    rise would let their attacks pass. The threshold is the deployed one, in nats.
    """
    if not held.sets:
        return
    logits, labels = _logits(detector, list(held.sets.values()))
    found = detector.calibration
    before, after = held.scores[labels], np.sort(found.apply(logits)[labels])
    refused = int((before < threshold).sum())
    if refused < len(after):
        # Not to the threshold itself: sums are rounded.
        rise = max(0.0, threshold + 1e-6 - float(after[refused]))
        detector.calibration = Calibration(found.scale, found.offset + rise)


def fit_calibration(detector: Detector, development: Sequence[Features]) -> Calibration:
    """Logistic regression on the detector's logits; DataError where they cannot be calibrated."""
    logits, labels = _logits(detector, development)
    weights = np.concatenate([_equal_weights(features) for features in development])
    return Calibration.fit(logits[labels], logits[~labels], weights=(weights[labels], weights[~labels]))


def frozen_threshold(
    detector: Detector, development: Sequence[Features], refused: float | None = None
) -> float:
    """The threshold that a first mixture is deployed with, from development data; nats.

    It errs alike on both classes, or lies lower, where that would refuse more than the share `refused` of bona fide
    speech; None for no such limit.
    """
    logits, labels = _logits(detector, development)
    scores = detector.calibration.apply(logits)
    alike = float(eer_threshold(scores[labels], scores[~labels]))
    return alike if refused is None else min(alike, refusing_threshold(scores[labels], refused))


def refusing_threshold(bona_fide: Scores, share: float) -> float:
    """The highest of (N,) scores below which lies at most the share of them; those equal to it are accepted."""
    return float(np.sort(bona_fide)[int(share * len(bona_fide))])


def held_at(calibration: Calibration, threshold: float, boundary: float) -> Calibration:
    """The same scale, with the offset that maps the logit `boundary` to the score `threshold`."""
    return Calibration(calibration.scale, threshold - calibration.scale * boundary)


def holding_boundary(
    before: Scores, after: Scores, bona_fide: NDArray[np.bool_], weights: Scores, threshold: float
) -> float:
    """The logit at which old utterances have the error rates that they had before at the deployed threshold.

    Every gap between two neighbouring new logits is a candidate. The result lies in the gap with the smallest change of
    miss rate plus change of false-alarm rate. Where several are best, as between classes that few utterances keep far
    apart, it is as far from the bona fide utterances as it was, in their own deviations.

    Args:
        before, threshold: (N,) calibrated scores of the former mixture, and what was deployed; nats.
        after: (N,) logits of the new one, same utterances.
        weights: (N,), which sum to 1 within each class.

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
    best = np.flatnonzero(change <= change.min() + 1e-9)  # sums in another order differ in the last bits
    logits = after[order]
    wanted = _as_far(before[bona_fide], after[bona_fide], weights[bona_fide], threshold)
    low = np.concatenate([[logits[0] - max(1.0, logits[0] - wanted)], logits])[best]
    high = np.concatenate([logits, [logits[-1] + max(1.0, wanted - logits[-1])]])[best]
    middle = (low + high) / 2
    nearest = int(np.argmin(np.maximum(low - wanted, wanted - high)))
    # In the gap itself, but not on an utterance.
    inside = low[nearest] < wanted < high[nearest]
    return float(wanted if inside else middle[nearest])


def _as_far(before: Scores, after: Scores, weights: Scores, threshold: float) -> float:
    """The logit that is as many weighted deviations from the mean afterwards as the threshold was from it before."""
    if not len(before):
        return threshold
    means = [float(np.average(own, weights=weights)) for own in (before, after)]
    spreads = [
        float(np.sqrt(np.average(np.square(own - mean), weights=weights)))
        for own, mean in zip((before, after), means, strict=True)
    ]
    return means[1] + (threshold - means[0]) / max(spreads[0], 1e-9) * spreads[1]


def equal_weights(development: Sequence[Features]) -> Scores:
    """(N,) weights for all sets in one row: the same for every domain, each class sums to 1."""
    weights = np.concatenate([_equal_weights(features) for features in development])
    real = np.concatenate([features.bona_fide.numpy() for features in development])
    return np.asarray(weights / np.where(real, weights[real].sum(), weights[~real].sum()))


def _logits(detector: Detector, development: Sequence[Features]) -> tuple[Scores, NDArray[np.bool_]]:
    pooled = concatenate(list(development))
    return logits_of(detector, pooled).double().numpy(), pooled.bona_fide.numpy()


def _equal_weights(features: Features) -> Scores:
    """(N,) weights for one set; each class sums to 1."""
    real = features.bona_fide.numpy()
    return np.asarray(np.where(real, 1 / max(1, real.sum()), 1 / max(1, (~real).sum())))
