"""The readout in training: it learns a domain in closed form, and gets its part in the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, concatenate, extract, parts_of, readings_of, states_of
from molex_adapt.readout import Lesson
from molex_adapt.run import Run
from molex_adapt.train.calibrate import equal_weights
from molex_adapt.train.prepare import MOST_READ, DomainData

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Shares that are tried, in deviations of the mixture's logits over those of the readout."""


def learn_readout(detector: Detector, domains: Mapping[str, DomainData], run: Run) -> list[str]:
    """Let the readout learn domains, by the names of their experts, where there is a readout. Returns remarks."""
    readout = detector.head.readout
    if readout is None:
        return []
    parts: list[Features] = []
    for data in domains.values():
        parts += [_some(detector, data, run), data.dev]
    # Domains share bona fide speech, which is read once where all come together.
    read = readings_of(detector, concatenate(parts))
    places = iter(torch.arange(len(read.states)).split([len(part) for part in parts]))
    lessons = [Lesson(read.pick(next(places)), part.bona_fide, part.attacks) for part in parts]
    return readout.learn({name: (lessons[2 * at], lessons[2 * at + 1]) for at, name in enumerate(domains)})


def with_states(detector: Detector, sets: Mapping[str, Features]) -> dict[str, Features]:
    """Exemplars of domains with their pooled states, which are not kept: measuring many times then reads them once.

    As they are where there is no readout.
    """
    if detector.head.readout is None or not sets:
        return dict(sets)
    states = states_of(detector, concatenate(list(sets.values())))
    parts = states.split([len(features) for features in sets.values()])
    return {
        domain: replace(features, states=own)
        for (domain, features), own in zip(sets.items(), parts, strict=True)
    }


def weigh_readout(detector: Detector, development: Sequence[Features]) -> list[str]:
    """Choose the readout's share in the score: the one with the lowest Cllr on development sets.

    Every domain has the same weight, and each class in it. Utterances without statistics are left out. The share stays
    as it is where nothing can be measured. Returns a remark that says what was chosen.
    """
    readout, together = detector.head.readout, concatenate(list(development))
    if readout is None or together.statistics is None or not readout.has_learnt:
        return []
    weights = torch.from_numpy(equal_weights(development))
    known = ~together.statistics.isnan().any(1)
    together, weights = together.pick(known.nonzero()[:, 0].tolist()), weights[known]
    if not together.has_both_classes:
        return []
    states, evidence = (part.double() for part in parts_of(detector, together))
    unit = float(states.std() / evidence.std().clamp(min=1e-6))
    losses = [_cllr(states + share * unit * evidence, together.bona_fide, weights) for share in _SHARES]
    if not np.isfinite(losses).any():
        return []
    chosen = _SHARES[int(np.nanargmin(losses))]
    readout.share.fill_(unit * chosen)
    part = f"{100 * chosen / (1 + chosen):.0f} %"
    count = len(readout.witnesses)
    return [
        f"the readout has {count} witness(es); its part in the score is {part}, the rest is the mixture's"
    ]


def _some(detector: Detector, data: DomainData, run: Run) -> Features:
    step = -(-len(data.train) // MOST_READ)
    if isinstance(data.train, Features):
        return data.train if step == 1 else data.train.pick(range(0, len(data.train), step))
    # What training computes anew for every batch is read whole, once.
    chosen = data.table.with_utterances(data.train.utterances[::step])
    return extract(detector, chosen, run)[0]


def _cllr(logits: Tensor, bona_fide: Tensor, weights: Tensor) -> float:
    """Weighted Cllr in nats after calibration on the same scores; NaN where they cannot be calibrated."""
    scores, real, own = logits.numpy(), bona_fide.numpy(), weights.numpy()
    try:
        found = Calibration.fit(scores[real], scores[~real], weights=(own[real], own[~real])).apply(scores)
    except DataError:
        return float("nan")
    costs = np.logaddexp(0.0, np.where(real, -found, found))
    return float(sum(np.average(costs[own_class], weights=own[own_class]) for own_class in (real, ~real)) / 2)
