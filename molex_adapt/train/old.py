"""What is known of the domains that a mixture already has, and what stages make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from torch import Tensor

from molex_adapt.detector import Detector
from molex_adapt.features import Features, logits_of
from molex_adapt.train.exemplars import Exemplars, divide_replay
from molex_adapt.train.pools import Pool
from molex_adapt.train.reads import ReadStatistics


@dataclass(frozen=True)
class OldDomain:
    """A domain that the mixture already has.

    Attributes:
        expert: the name of its expert; None where several experts share the domain among themselves.
        exemplars: what was kept; None where nothing may be kept.
    """

    expert: str | None
    exemplars: Exemplars | None


OldDomains = Mapping[str, OldDomain]


def development_sets(old: OldDomains) -> dict[str, Features]:
    """What is kept of old domains to stop early and to calibrate on; of those that keep something."""
    sets = {
        key: divide_replay(item.exemplars.replay)[1]
        for key, item in old.items()
        if item.exemplars is not None
    }
    return {key: features for key, features in sets.items() if len(features)}


def check_sets(old: OldDomains) -> dict[str, Features]:
    """What is kept of old domains for the gate to measure on; of those that keep both classes."""
    sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars is not None}
    return {key: features for key, features in sets.items() if features.has_both_classes}


def old_logits(detector: Detector, old: OldDomains) -> dict[str, Tensor]:
    """What the mixture makes of the replay exemplars at this moment, to be held on to."""
    return {
        key: logits_of(detector, divide_replay(item.exemplars.replay)[0])
        for key, item in old.items()
        if item.exemplars is not None
    }


def replay_weights(losses: Mapping[str, float]) -> dict[str, float]:
    """How much each old domain is replayed, from what it costs the mixture now: harder ones more, none much less.

    An easy domain gets a third of what one of average difficulty gets; where nothing costs anything, all are alike.
    """
    average = max(mean(losses.values()), 1e-9) if losses else 0.0
    return {key: average + 2 * loss for key, loss in losses.items()}


def replay_share(most_new: float, new: float, losses: Mapping[str, float]) -> float:
    """Share of every batch that is replayed.

    Args:
        most_new: the new domain's share at most.
        new: what it costs the mixture now, nats.
        losses: what old domains cost; where there are none, nothing is replayed whatever the share.
    """
    if not losses:
        return 1 - most_new
    own = new / max(new + mean(losses.values()), 1e-9)
    return 1 - min(most_new, max(own, 1 / (1 + len(losses))))


def replay_pools(
    detector: Detector,
    old: OldDomains,
    logits: Mapping[str, Tensor],
    weights: Mapping[str, float] | None = None,
) -> list[Pool]:
    """Replay exemplars for training, a pool a domain; by `weights` where a domain has one, else alike."""
    pools = []
    for key, item in old.items():
        if item.exemplars is None:
            continue
        replay, _ = divide_replay(item.exemplars.replay)
        weight = (weights or {}).get(key, 1.0)
        pools.append(Pool(replay, weight, row_of(detector, item), logits.get(key)))
    return [pool for pool in pools if len(pool.clips)]


def row_of(detector: Detector, domain: OldDomain) -> int | None:
    """The router row that a domain's spoofed speech belongs to."""
    return None if domain.expert is None else detector.mixture.index(domain.expert)


def with_replay(data: Sequence[Pool], replay: Sequence[Pool], share: float) -> list[Pool]:
    """Pools of data and of exemplars. Exemplars get `share` of every batch; each side is divided as its pools say."""
    if not data or not replay:
        return [*data, *replay]
    return [*_scaled(data, 1 - share), *_scaled(replay, share)]


def _scaled(pools: Sequence[Pool], share: float) -> list[Pool]:
    total = sum(pool.share for pool in pools)
    return [replace(pool, share=share * pool.share / total) for pool in pools]


def known_reads(old: OldDomains) -> list[ReadStatistics]:
    """Statistics of what routers read of old domains."""
    return [reads for item in old.values() if item.exemplars is not None for reads in item.exemplars.reads]
