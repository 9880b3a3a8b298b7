"""What an expert keeps of its domain: a few utterances as prefix features, for later stages and later gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from molex_adapt.features import Features, OnlineFeatures, source_id
from molex_adapt.recipe import ExemplarOptions
from molex_adapt.train.reads import ReadStatistics

DEVELOPMENT_EVERY = 4
"""Of the replay exemplars of each class, every fourth measures (early stopping) and the others train."""


@dataclass(frozen=True)
class Exemplars:
    """What one domain leaves behind.

    Attributes:
        replay: utterances from its training split.
        check: utterances from its test split.
        reads: statistics of what routers read of each class of its training split; empty where none are kept.
    """

    replay: Features
    check: Features
    reads: tuple[ReadStatistics, ...] = ()


def choose_exemplars(
    train: Features | OnlineFeatures, test: Features, options: ExemplarOptions, crop: int, seed: int
) -> Exemplars:
    """Pick exemplars of both classes at random.

    Args:
        train, test: the domain's splits.
        options: how many of each class, and how much of each.
        crop: frames of a training crop, for training sets that are not in memory.
        seed: decides the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    return Exemplars(
        _in_memory(train, _pick(train.bona_fide, options.replay, generator), crop).cut(options.seconds),
        test.pick(_pick(test.bona_fide, options.check, generator)).cut(options.seconds),
    )


def divide_replay(replay: Features) -> tuple[Features, Features]:
    """Replay exemplars for training and for the development loss; the same division every time."""
    train: list[int] = []
    development: list[int] = []
    for bona_fide in (True, False):
        for place, index in enumerate(replay.of_class(bona_fide)):
            (development if place % DEVELOPMENT_EVERY == 0 else train).append(index)
    return replay.pick(train), replay.pick(development)


def _pick(bona_fide: torch.Tensor, count: int, generator: torch.Generator) -> list[int]:
    picked: list[int] = []
    for label in (True, False):
        members = (bona_fide == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)[:count]
        picked += sorted(members[order].tolist())
    return picked


def _in_memory(train: Features | OnlineFeatures, indices: list[int], crop: int) -> Features:
    if isinstance(train, Features):
        return train.pick(indices)
    if not indices:
        return Features((), torch.zeros(0, dtype=torch.bool), (), ())
    clips, frames = train.batch(indices, crop, torch.Generator().manual_seed(0))
    items = [train.utterances[i] for i in indices]
    return Features(
        tuple(clip[:count].half().cpu() for clip, count in zip(clips, frames.tolist(), strict=True)),
        train.bona_fide[indices],
        tuple(source_id(item.source) for item in items),
        tuple(item.attack for item in items),
    )
