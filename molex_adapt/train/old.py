"""What is known of the domains that a mixture already has, and what stages make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


def development_sets(old: OldDomains) -> list[Features]:
    """What is kept of old domains to stop early and to calibrate on."""
    sets = [divide_replay(item.exemplars.replay)[1] for item in old.values() if item.exemplars is not None]
    return [item for item in sets if len(item)]


def old_logits(detector: Detector, old: OldDomains) -> dict[str, Tensor]:
    """What the mixture makes of the replay exemplars at this moment, to be held on to."""
    return {
        key: logits_of(detector, divide_replay(item.exemplars.replay)[0])
        for key, item in old.items()
        if item.exemplars is not None
    }


def replay_pools(detector: Detector, old: OldDomains, logits: Mapping[str, Tensor]) -> list[Pool]:
    """Replay exemplars for training, a pool a domain."""
    pools = []
    for key, item in old.items():
        if item.exemplars is None:
            continue
        replay, _ = divide_replay(item.exemplars.replay)
        pools.append(Pool(replay, 1.0, row_of(detector, item), logits.get(key)))
    return [pool for pool in pools if len(pool.clips)]


def row_of(detector: Detector, domain: OldDomain) -> int | None:
    """The router row that a domain's spoofed speech belongs to."""
    return None if domain.expert is None else detector.mixture.index(domain.expert)


def with_replay(new: Pool, replay: list[Pool], share: float) -> list[Pool]:
    """A new domain's pool and the old ones', which together get `share` of every batch."""
    if not replay:
        return [new]
    each = share / len(replay)
    return [
        Pool(new.clips, 1 - share, new.expert, new.old_logits),
        *(Pool(pool.clips, each, pool.expert, pool.old_logits) for pool in replay),
    ]


def known_reads(old: OldDomains) -> list[ReadStatistics]:
    """Statistics of what routers read of old domains."""
    return [reads for item in old.values() if item.exemplars is not None for reads in item.exemplars.reads]
