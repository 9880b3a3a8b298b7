"""The readout in training: it learns a domain in closed form, and gets its part in the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molex_adapt.calibration import Calibration
from molex_adapt.data import Utterance
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import (
    Features,
    OnlineFeatures,
    concatenate,
    extract,
    parts_of,
    readings_of,
    states_of,
    voices_of,
)
from molex_adapt.readout import Learnt, Lesson, groups_of, learn
from molex_adapt.run import Run
from molex_adapt.train.calibrate import equal_weights
from molex_adapt.train.prepare import MOST_READ, DomainData

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Shares that are tried, in deviations of the mixture's logits over those of the readout."""


def learn_readout(detector: Detector, domains: Mapping[str, DomainData], run: Run) -> Learnt:
    """Let the readout learn domains, by the names of their experts, where there is a readout."""
    readout = detector.head.readout
    if readout is None:
        return Learnt([], {})
    parts: list[Features] = []
    for data in domains.values():
        parts += [_some(detector, data, run), data.dev]
    owners = [data for data in domains.values() for _ in ("train", "dev")]
    lessons = [
        Lesson(
            part.bona_fide,
            part.attacks,
            groups_of(part.spoken_by(voices_of(data.table)), part.sources, part.attacks),
            readings_of(detector, part),
        )
        for part, data in zip(parts, owners, strict=True)
    ]
    return learn(readout, {name: (lessons[2 * at], lessons[2 * at + 1]) for at, name in enumerate(domains)})


def told_to_experts(detector: Detector, data: DomainData, unheard: Tensor | None) -> Tensor | None:
    """(N,) what the readout adds to the logit of every training recording, from its unheard evidence in nats.

    None where it says nothing, or has not read all of them: then experts learn the whole of it.
    """
    if unheard is None or len(unheard) != len(data.train):
        return None
    readout = detector.head.readout
    assert readout is not None
    return float(readout.share) * unheard


def told_of(detector: Detector, features: Features | OnlineFeatures) -> Tensor | None:
    """(N,) the same of recordings that were known before; witnesses that learnt from them say what they say.

    None also where recordings are too many to be read.
    """
    readout = detector.head.readout
    if readout is None or not readout.has_learnt or not len(features) or isinstance(features, OnlineFeatures):
        return None
    return readout.share.cpu() * readout.of_many(readings_of(detector, features))


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


def let_it_speak_alone(detector: Detector, development: Sequence[Features]) -> None:
    """Set the share by which the readout's evidence alone is calibrated on development sets, if it can be."""
    readout, together = detector.head.readout, concatenate(list(development))
    if readout is None or not readout.has_learnt:
        return
    evidence = readout.of_many(readings_of(detector, together)).double().numpy()
    real, weights = together.bona_fide.numpy(), equal_weights(development)
    with suppress(DataError):
        found = Calibration.fit(evidence[real], evidence[~real], weights=(weights[real], weights[~real]))
        readout.share.fill_(found.scale)


def weigh_readout(detector: Detector, development: Sequence[Features]) -> list[str]:
    """Choose the readout's share in the score: the one with the lowest Cllr on development sets.

    Every domain has the same weight, and each class in it. Utterances without statistics are left out. The share stays
    as it is where nothing can be measured. Beside a relative head it is the share that it has alone: experts come on
    top, and were trained so. One attack that they tell well would silence it for all that follow. Returns a remark that
    says what was chosen.
    """
    readout, together = detector.head.readout, concatenate(list(development))
    if readout is None or together.statistics is None or not readout.has_learnt:
        return []
    if detector.head.relative:
        let_it_speak_alone(detector, development)
        return [f"the readout has {len(readout.witnesses)} witness(es); experts come on top of what it says"]
    weights = torch.from_numpy(equal_weights(development))
    known = ~together.statistics.isnan().any(1)
    together, weights = together.pick(known.nonzero()[:, 0].tolist()), weights[known]
    if not together.has_both_classes:
        return []
    states, evidence = (part.double() for part in parts_of(detector, together))
    unit = float(states.std() / evidence.std().clamp(min=1e-6))
    # Experts that learnt beside the readout were made for the share that it had then.
    shares = [*(unit * share for share in _SHARES), float(readout.share)]
    losses = [_cllr(states + share * evidence, together.bona_fide, weights) for share in shares]
    if not np.isfinite(losses).any():
        return []
    chosen = shares[int(np.nanargmin(losses))]
    readout.share.fill_(chosen)
    part = f"{100 * chosen / (unit + chosen):.0f} %"
    count = len(readout.witnesses)
    return [
        f"the readout has {count} witness(es); its part in the score is {part}, the rest is the mixture's"
    ]


def _some(detector: Detector, data: DomainData, run: Run) -> Features:
    step = -(-len(data.train) // MOST_READ)
    if isinstance(data.train, Features) and step == 1:
        return data.train
    # What training computes anew for every batch is read whole, once; of what is very large, a part.
    whole = data.table.select(split="train")
    heard = data.train.utterances if isinstance(data.train, OnlineFeatures) else whole.utterances
    return extract(detector, data.table.with_utterances(_every(heard, step)), run, states=True)[0]


def _every(heard: Sequence[Utterance], step: int) -> tuple[Utterance, ...]:
    """One of so many of each attack and of bona fide speech; where these take turns, a stride would leave some out."""
    seen, kept = Counter[str | None](), list[Utterance]()
    for item in heard:
        if seen[item.attack] % step == 0:
            kept.append(item)
        seen[item.attack] += 1
    return tuple(kept)


def _cllr(logits: Tensor, bona_fide: Tensor, weights: Tensor) -> float:
    """Weighted Cllr in nats after calibration on the same scores; NaN where they cannot be calibrated."""
    scores, real, own = logits.numpy(), bona_fide.numpy(), weights.numpy()
    try:
        found = Calibration.fit(scores[real], scores[~real], weights=(own[real], own[~real])).apply(scores)
    except DataError:
        return float("nan")
    costs = np.logaddexp(0.0, np.where(real, -found, found))
    return float(sum(np.average(costs[own_class], weights=own[own_class]) for own_class in (real, ~real)) / 2)
