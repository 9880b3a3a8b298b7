"""The domains that a mixture already has: their development and check sets, and their replay in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean

from molex_adapt.detector import Detector
from molex_adapt.features import Features, voices_of
from molex_adapt.rehearsal import Remembered
from molex_adapt.train.exemplars import Exemplars, divide_replay
from molex_adapt.train.pools import Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import told_of


@dataclass(frozen=True)
class OldDomain:
    """A domain that the mixture has.

    Attributes:
        expert: its own; None where several share the domain.
        exemplars: None where none are kept.
        remembered: what routers read of it; None where that is not kept.
        voices: names by source of what it is measured on, where they are known.
        risen: by how much its EER lies above its best so far, by what every generation changed on the same recordings.
    """

    expert: str | None
    exemplars: Exemplars | None
    remembered: Remembered | None = None
    voices: Mapping[str, str] = field(default_factory=dict)
    risen: float = 0.0


OldDomains = Mapping[str, OldDomain]


def development_sets(old: OldDomains) -> dict[str, Features]:
    """Exemplars for early stopping and calibration, per domain; domains without exemplars are left out."""
    sets = {
        key: divide_replay(item.exemplars.replay)[1]
        for key, item in old.items()
        if item.exemplars is not None
    }
    return {key: features for key, features in sets.items() if len(features)}


def check_sets(old: OldDomains) -> dict[str, Features]:
    """Exemplars that acceptance measures on, per domain; domains that did not keep both classes are left out."""
    sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars is not None}
    return {key: features for key, features in sets.items() if features.has_both_classes}


def bona_fide_of(sets: Mapping[str, Features]) -> dict[str, Features]:
    """The bona fide speech of sets that have some."""
    real = {key: each.pick(each.of_class(True)) for key, each in sets.items()}
    return {key: each for key, each in real.items() if len(each)}


def risen(old: OldDomains) -> dict[str, float]:
    """By how much the EER of each lies above its best."""
    return {domain: item.risen for domain, item in old.items()}


def voices_among(old: OldDomains, data: Iterable[DomainData]) -> dict[str, str]:
    """Names by source, of old domains and of data, where they are known."""
    parts = [*(item.voices for item in old.values()), *(voices_of(item.table) for item in data)]
    return {source: voice for part in parts for source, voice in part.items()}


def replay_weights(losses: Mapping[str, float]) -> dict[str, float]:
    """Weight of each old domain in replay: the average loss plus twice its own loss, so that hard domains get more.

    A domain without any loss still gets a third of what an average one gets. With weights in proportion to the loss
    alone it would get nothing, and would be forgotten.
    """
    # The small number makes the weights of domains that all have no loss equal, and not all zero.
    average = max(mean(losses.values()), 1e-9) if losses else 0.0
    return {key: average + 2 * loss for key, loss in losses.items()}


def replay_pools(
    detector: Detector, old: OldDomains, weights: Mapping[str, float] | None = None
) -> list[Pool]:
    """One pool of replay exemplars per domain. Its share is the domain's weight, 1 where `weights` has none."""
    found = {
        key: divide_replay(item.exemplars.replay)[0]
        for key, item in old.items()
        if item.exemplars is not None
    }
    return [
        Pool(clips, (weights or {}).get(key, 1.0), row_of(detector, old[key]), told_of(detector, clips))
        for key, clips in found.items()
        if len(clips)
    ]


def row_of(detector: Detector, domain: OldDomain) -> int | None:
    """The router row of a domain's expert; None where several share the domain, or it was withdrawn.

    Routers that were led to an expert whose gates are closed would learn nothing else.
    """
    mixture = detector.mixture
    if domain.expert is None or mixture.has_withdrawn(domain.expert):
        return None
    return mixture.index(domain.expert)


def with_replay(data: Sequence[Pool], replay: Sequence[Pool], share: float) -> list[Pool]:
    """Pools of new data and of exemplars. Exemplars get `share` of every batch; the pools of a side divide its part."""
    if not data or not replay:
        return [*data, *replay]
    return [*_scaled(data, 1 - share), *_scaled(replay, share)]


def _scaled(pools: Sequence[Pool], share: float) -> list[Pool]:
    total = sum(pool.share for pool in pools)
    return [replace(pool, share=share * pool.share / total) for pool in pools]
