"""Whether an expert brings anything: what a development split says of voices that are not in it.

Shapes: N utterances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features
from molex_adapt.metrics import eer as equal_error_rate
from molex_adapt.reports import Gain
from molex_adapt.train.acceptance import FEWEST_VOICES
from molex_adapt.train.calibrate import score_development
from molex_adapt.train.losses import loss_of_each

_CERTAIN = 0.95
"""Of a gain's interval; both of its tails."""


@dataclass(frozen=True)
class Told:
    """What a detector tells of a development split.

    Attributes:
        losses: (N,) logistic losses by a calibration of their own; nats.
        eer: of the split.
    """

    losses: NDArray[np.float64]
    eer: float


def gain_of(without: Told, with_it: Told, development: Features, voices: Mapping[str, str]) -> Gain:
    """What an expert brings to voices that are not among these, of names by source.

    Where fewer than four are known, source recordings are counted, which says nothing of other voices.
    """
    units, kind = development.spoken_by(voices), "voices"
    if len(set(units)) < FEWEST_VOICES:
        units, kind = development.sources, "recordings"
    fell = without.losses - with_it.losses
    mean, error = clustered_mean(fell, development.bona_fide.numpy(), units)
    return Gain(mean, error, len(set(units)), kind, (without.eer, with_it.eer))


def clustered_mean(
    fell: NDArray[np.float64], bona_fide: NDArray[np.bool_], units: Sequence[str]
) -> tuple[float, float]:
    """The mean of both classes' means, and half of its interval (95 %).

    The recordings of one voice tell much the same, so the variance is clustered by unit, and the quantile is
    Student's for their number. One standard error, as in the rule of Breiman et al. (1984), is not enough: training
    stopped where it was best on these very recordings.

    Source: own; Cameron & Miller (2015), "A practitioner's guide to cluster-robust inference", for the variance.

    Args:
        fell: (N,) by how much the loss of each recording fell; nats.
        bona_fide: (N,) their labels, of both classes.
        units: of each the voice, or whatever was drawn as one. A single unit tells nothing of others.
    """
    from scipy.special import stdtrit

    names, own = np.unique(np.asarray(units), return_inverse=True)
    count = len(names)
    mean, moved = 0.0, np.zeros(count)  # by how much each unit moves the mean
    for members in (bona_fide, ~bona_fide):
        of_class = float(fell[members].mean())
        mean += of_class / 2
        moved += np.bincount(own[members], (fell[members] - of_class) / members.sum() / 2, minlength=count)
    if count < 2:
        return mean, math.inf
    error = float(np.sum(moved**2) * count / (count - 1)) ** 0.5
    return mean, float(stdtrit(count - 1, (1 + _CERTAIN) / 2)) * error


def told_of(detector: Detector, development: Features) -> Told:
    """What a detector tells, its losses by a calibration of their own.

    By the detector's own an expert would gain where it damps a readout that claims too much on new voices, and tells
    no more apart. Scores that have the wrong order tell nothing.
    """
    scores = score_development(detector, {"": development}).scores
    real = development.bona_fide.numpy()
    eer = equal_error_rate(scores[real], scores[~real])
    try:
        own = Calibration.fit(scores[real], scores[~real])
    except DataError:
        return Told(np.full(len(scores), np.log(2)), eer)
    return Told(loss_of_each(own.apply(scores), development.bona_fide), eer)
