"""The low-level view in training: what it learns of a domain, and how much it says in the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, OnlineFeatures, concatenate, logits_of
from molex_adapt.train.calibrate import equal_weights

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Shares that are tried, in deviations of the SSL view's logits over those of the low-level view."""


def learn_low_level(detector: Detector, domains: Mapping[str, Features | OnlineFeatures]) -> None:
    """Let the low-level view learn the training splits of domains, where there is such a view."""
    view = detector.head.low_level
    if view is None:
        return
    for features in domains.values():
        if features.statistics is not None:
            view.learn(features.statistics, features.bona_fide)


def weigh_low_level(detector: Detector, development: Sequence[Features]) -> list[str]:
    """Choose the low-level view's share in the score: the one with the lowest Cllr on development sets.

    Every domain has the same weight, and each class in it. Utterances without statistics are left out. The share stays
    as it is where nothing can be measured. Returns a remark that says what was chosen.
    """
    view, pooled = detector.head.low_level, concatenate(list(development))
    if view is None or pooled.statistics is None or not view.has_learnt:
        return []
    weights = torch.from_numpy(equal_weights(development))
    known = ~pooled.statistics.isnan().any(1)
    pooled, weights = pooled.pick(known.nonzero()[:, 0].tolist()), weights[known]
    if not pooled.has_both_classes:
        return []
    assert pooled.statistics is not None
    low = view.evidence(pooled.statistics).cpu().double()
    states = logits_of(detector, pooled).double() - float(view.share) * low
    unit = float(states.std() / low.std().clamp(min=1e-6))
    losses = [_cllr(states + share * unit * low, pooled.bona_fide, weights) for share in _SHARES]
    if not np.isfinite(losses).any():
        return []
    chosen = _SHARES[int(np.nanargmin(losses))]
    view.share.fill_(unit * chosen)
    remark = (
        f"the low-level view has learnt {int(view.counts[0])} domain(s); its part in the score is "
        f"{100 * chosen / (1 + chosen):.0f} %, the rest is the base's states with the experts"
    )
    return [remark]


def _cllr(logits: Tensor, bona_fide: Tensor, weights: Tensor) -> float:
    """Weighted Cllr in nats after calibration on the same scores; NaN where they cannot be calibrated."""
    scores, real, own = logits.numpy(), bona_fide.numpy(), weights.numpy()
    try:
        found = Calibration.fit(scores[real], scores[~real], weights=(own[real], own[~real])).apply(scores)
    except DataError:
        return float("nan")
    costs = np.logaddexp(0.0, np.where(real, -found, found))
    return float(sum(np.average(costs[own_class], weights=own[own_class]) for own_class in (real, ~real)) / 2)
