"""How well each known attack is found to be new when nothing of it is known.

The intervals are of bootstraps over source recordings: attacks that copy the same ones are drawn together, and so the
mean over attacks has an interval too.

Shapes: N known recordings, K of them of other kinds, M of the attack that is left out, U sources, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.novelty import Floats, KnownSpeech, Mask, Space
from molex_adapt.findings import Interval, LeftOut
from molex_adapt.metrics.resampling import Integers, draw_units, percentiles, running_weights

_FEWEST = 8
"""Recordings of an attack that is left out; fewer say nothing."""
_RESAMPLES = 1000
_CONFIDENCE = 0.95


def left_out(known: KnownSpeech, bona_fide: str) -> tuple[list[LeftOut], Interval | None]:
    """AUROC of each attack against the other known speech, on unseen sources; and the interval of their mean.

    Attacks of too few recordings are left aside; where there is none else, there is no mean.
    """
    counts = {name: known.kinds.count(name) for name in dict.fromkeys(known.kinds)}
    names = [name for name, count in counts.items() if name != bona_fide and count >= _FEWEST]
    apart = [item for item in (_without(known, name) for name in names) if item is not None]
    if not apart:
        return [], None
    areas = _resampled(apart, known)
    found = [
        LeftOut(item.name, item.area, _interval(own), len(item.novel))
        for item, own in zip(apart, areas.T, strict=True)
    ]
    # A resample may lack the only sources of an attack, or of all.
    return found, _interval(np.nanmean(areas[~np.isnan(areas).all(1)], axis=1))


@dataclass(frozen=True)
class _Apart:
    """An attack, and how far its recordings and the others are from what is known without it.

    Attributes:
        novel: (M,) indices of its recordings.
        others: (K,) those of the others, by rising distance.
        below, upto: (M,) how many of `others` are nearer than each of its recordings, and how many are not further.
    """

    name: str
    novel: Integers
    others: Integers
    below: Integers
    upto: Integers

    @classmethod
    def of(cls, name: str, novel: Mask, distances: Floats) -> _Apart:
        others = np.flatnonzero(~novel)
        others = others[np.argsort(distances[others], kind="stable")]
        near, own = distances[others], distances[novel]
        return cls(
            name,
            np.flatnonzero(novel),
            others,
            np.searchsorted(near, own, side="left"),
            np.searchsorted(near, own, side="right"),
        )

    @property
    def area(self) -> float:
        """How often one of its recordings is further than one of the others."""
        return float((self.below + self.upto).mean() / (2 * len(self.others)))

    def areas(self, weights: NDArray[np.int64]) -> Floats:
        """(R,) the same with (R, N) weights."""
        own = weights[:, self.novel]
        total, below = running_weights(weights[:, self.others], self.below)
        _, upto = running_weights(weights[:, self.others], self.upto)
        found: Floats = (own * (below + upto)).sum(1) / (2 * own.sum(1) * total[:, 0])
        return found


def _without(known: KnownSpeech, name: str) -> _Apart | None:
    """None where too little else is known."""
    novel = np.array([kind == name for kind in known.kinds])
    fold, distance = known.fold, np.full(len(novel), np.nan)
    folds = range(int(fold.max()) + 1)
    if min(((fold != at) & ~novel).sum() for at in folds) < _FEWEST:
        return None
    for at in folds:
        if (fold == at).any():
            rest = known.pick((fold != at) & ~novel)
            distance[fold == at] = Space.of(rest.heard, rest.kinds).distances(known.pick(fold == at).heard)[0]
    return _Apart.of(name, novel, distance)


def _resampled(apart: Sequence[_Apart], known: KnownSpeech) -> Floats:
    """(R, attacks) areas of resamples of the sources; NaN where one has none of an attack's."""
    unit = np.unique(np.array(known.sources, dtype=object).astype(str), return_inverse=True)[1]
    sources = np.arange(int(unit.max()) + 1)
    drawn = draw_units([sources], len(sources), _RESAMPLES, seed=0)
    with np.errstate(invalid="ignore"):
        parts = [np.stack([item.areas(counts[:, unit]) for item in apart], axis=1) for counts in drawn]
    return np.concatenate(parts)


def _interval(areas: Floats) -> Interval:
    return percentiles(areas[~np.isnan(areas)], _CONFIDENCE)
