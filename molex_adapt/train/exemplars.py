"""Exemplars: what an expert keeps of its domain, a few utterances as prefix features, for later training and gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE, Seconds
from molex_adapt.features import Features, OnlineFeatures, source_id
from molex_adapt.recipe import ExemplarOptions

DEVELOPMENT_EVERY = 4
"""Every fourth source recording of the replay exemplars is for early stopping, the others are for training."""


@dataclass(frozen=True)
class Exemplars:
    """What is kept of one domain: utterances of its training split, and of its test split."""

    replay: Features
    check: Features


def choose_exemplars(
    train: Features | OnlineFeatures, test: Features, options: ExemplarOptions, seconds: Seconds, seed: int
) -> Exemplars:
    """Choose exemplars of both classes at random, forged copies of chosen recordings first.

    They are at most `seconds` long.
    """
    generator = torch.Generator().manual_seed(seed)
    return Exemplars(
        in_memory(train, _pick(train, options.replay, generator), seconds),
        test.pick(_pick(test, options.check, generator)).cut(seconds),
    )


def divide_replay(replay: Features) -> tuple[Features, Features]:
    """Replay exemplars for training, and those for the development loss. The division is always the same.

    A source recording is on one side with all of its copies: early stopping must not measure on what was trained on.
    """
    measures: dict[str, bool] = {}
    for bona_fide in (True, False):
        # Sources of forged speech that has its original here were placed with the original, in the first round.
        found = dict.fromkeys(replay.sources[at] for at in replay.of_class(bona_fide))
        fresh = [source for source in found if source not in measures]
        measures |= {source: place % DEVELOPMENT_EVERY == 0 for place, source in enumerate(fresh)}
    rows = range(len(replay))
    return (
        replay.pick([at for at in rows if not measures[replay.sources[at]]]),
        replay.pick([at for at in rows if measures[replay.sources[at]]]),
    )


def _pick(clips: Features | OnlineFeatures, count: int, generator: torch.Generator) -> list[int]:
    """Indices of at most `count` utterances of each class: random bona fide ones, and their forged copies first."""
    real, forged = ((clips.bona_fide == label).nonzero()[:, 0] for label in (True, False))
    chosen = real[torch.randperm(len(real), generator=generator)[:count]].tolist()
    heard = {clips.sources[at] for at in chosen}
    order = forged[torch.randperm(len(forged), generator=generator)].tolist()
    order.sort(key=lambda at: clips.sources[at] not in heard)  # stable: chance decides within both groups
    return sorted(chosen) + sorted(order[:count])


def in_memory(train: Features | OnlineFeatures, indices: list[int], seconds: Seconds) -> Features:
    """Some utterances, each at most so long."""
    if isinstance(train, Features):
        return train.pick(indices).cut(seconds)
    if not indices:
        return Features((), torch.zeros(0, dtype=torch.bool), (), ())
    places = torch.rand(len(indices), generator=torch.Generator().manual_seed(0)).tolist()
    clips, frames = train.batch(indices, int(seconds * SAMPLE_RATE) // FRAME_SAMPLES, places)
    items = [train.utterances[i] for i in indices]
    return Features(
        tuple(clip[:count].half().cpu() for clip, count in zip(clips, frames.tolist(), strict=True)),
        train.bona_fide[indices],
        tuple(source_id(item.source) for item in items),
        tuple(item.attack for item in items),
        train.statistics_of(indices),
    )
