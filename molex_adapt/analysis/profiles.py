"""How differently two kinds of speech are routed, and whether that could be chance.

A profile is the mean gates of some recordings, in every block a distribution over experts and what they leave to the
frozen base. Two profiles are compared by
the Jensen-Shannon distance. Recordings of one source are not independent, so whole sources are drawn for intervals, and
labels are shuffled among sources for p-values: where a source has recordings of both kinds, the two are exchanged or
not; sources of one kind only are dealt out anew.

Shapes: N recordings, V = L E entries of a profile, R resamples, U sources, P profiles.

Source: Lin 1991 (the divergence); Endres and Schindelin 2003 (its root is a metric); Phipson and Smyth 2010 (p-values
of permutations are never 0); Benjamini and Hochberg 1995.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.findings import Distance
from molex_adapt.metrics.resampling import draw_sources

Floats: TypeAlias = NDArray[np.float32]
Profiles: TypeAlias = NDArray[np.float64]

RESAMPLES, SHUFFLES = (100, 300), (199, 999)
"""Fewest and most for each pair; what all pairs have together bounds the time where there are thousands of them."""
_RESAMPLES_IN_ALL, _SHUFFLES_IN_ALL = 30_000, 100_000
_AT_ONCE = 4_000_000
"""Numbers in one array; bounds memory."""


@dataclass(frozen=True)
class Kept:
    """The gates of N recordings of one kind of speech: (N, L, E), and N sources."""

    gates: Floats
    sources: tuple[str, ...]

    def pick(self, which: NDArray[np.bool_]) -> Kept:
        """Those of a mask."""
        return Kept(self.gates[which], tuple(np.array(self.sources, dtype=object)[which].tolist()))


def js_distance(one: NDArray[np.floating], other: NDArray[np.floating]) -> Profiles:
    """Jensen-Shannon distance of profiles (..., L, E): (...), from 0 to 1.

    The divergence in bits is averaged over blocks before its root is taken.
    """
    middle = (one + other) / 2
    divergence = bits(middle) - (bits(one) + bits(other)) / 2
    found: Profiles = np.sqrt(np.clip(divergence.mean(-1), 0.0, 1.0))
    return found


def distances(kept: Mapping[str, Kept], *, seed: int = 0) -> list[Distance]:
    """Between all pairs, with intervals and corrected p-values; kinds without recordings are left out."""
    named = {name: item for name, item in kept.items() if item.sources}
    return compared(named, list(combinations(named, 2)), seed=seed)


def compared(kept: Mapping[str, Kept], pairs: Sequence[tuple[str, str]], *, seed: int = 0) -> list[Distance]:
    """Between some pairs of kinds, all of which have recordings, as `distances`."""
    rng = np.random.default_rng(seed)
    shuffles = _each(_SHUFFLES_IN_ALL, len(pairs), SHUFFLES)
    resamples = _each(_RESAMPLES_IN_ALL, len(pairs), RESAMPLES)
    drawn = {name: _resampled(item, resamples, rng) for name, item in kept.items()}
    return corrected([_pair(*pair, kept, drawn, shuffles, rng) for pair in pairs])


def controls(pairs: Mapping[str, tuple[Kept, Kept]], *, seed: int = 0) -> list[Distance]:
    """Of each pair of kinds, by what the first one is called; the second is other bona fide speech."""
    rng = np.random.default_rng(seed)
    found = []
    for name, (one, other) in pairs.items():
        if one.sources and other.sources:
            both = {name: one, "bonafide": other}
            drawn = {key: _resampled(item, RESAMPLES[1], rng) for key, item in both.items()}
            found.append(_pair(name, "bonafide", both, drawn, SHUFFLES[1], rng))
    return corrected(found)


def corrected(found: Sequence[Distance]) -> list[Distance]:
    """The same with p-values that hold for all of them together."""
    if not found:
        return []
    from scipy.stats import false_discovery_control

    values = false_discovery_control([item.p for item in found]).tolist()
    return [replace(item, p_corrected=float(value)) for item, value in zip(found, values, strict=True)]


def _each(in_all: int, pairs: int, bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(bounds[1], in_all // max(1, pairs)))


def _pair(
    one: str,
    other: str,
    kept: Mapping[str, Kept],
    drawn: Mapping[str, NDArray[np.floating]],
    shuffles: int,
    rng: np.random.Generator,
) -> Distance:
    first, second = kept[one], kept[other]
    apart = float(js_distance(first.gates.mean(0, dtype=float), second.gates.mean(0, dtype=float)))
    resampled = js_distance(drawn[one], drawn[other])
    # Resamples are less alike than the recordings they are drawn from; the interval lies around what was measured.
    low, high = np.clip(np.percentile(resampled, [2.5, 97.5]) - resampled.mean() + apart, 0.0, 1.0)
    p, chance = permutation_p(first, second, rng, shuffles)
    sources = len(set(first.sources)), len(set(second.sources))
    return Distance(one, other, apart, (float(low), float(high)), chance, p, p, sources)


def permutation_p(
    one: Kept, other: Kept, rng: np.random.Generator, shuffles: int = SHUFFLES[1]
) -> tuple[float, float]:
    """How often labels that are shuffled among sources are as far apart as the true ones, and their mean distance.

    The p-value is at least 1 / (shuffles + 1), and 1 where there is nothing to shuffle: a single source.
    """
    sums, counts = _by_source(one, other)
    if len(counts[0]) < 2:
        return 1.0, float(js_distance(one.gates.mean(0, dtype=float), other.gates.mean(0, dtype=float)))
    true = np.ones((1, len(counts[0])), dtype=np.float32)
    observed = _distance_of(true, sums, counts, one.gates.shape[1:])[0]
    found = _distance_of(_dealt(counts, shuffles, rng), sums, counts, one.gates.shape[1:])
    # Sums in another order differ in their last digits: what is equal must count as equal.
    p = (1 + np.count_nonzero(found >= observed - 1e-6)) / (shuffles + 1)
    return float(p), float(found.mean())


def _by_source(one: Kept, other: Kept) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Sums (U, V) and counts (U,) of both kinds by source."""
    names = {name: at for at, name in enumerate(dict.fromkeys((*one.sources, *other.sources)))}
    found = []
    for item in (one, other):
        unit = [names[name] for name in item.sources]
        flat = item.gates.reshape(len(unit), -1)
        summed = np.zeros((len(names), flat.shape[1]), dtype=np.float32)
        np.add.at(summed, unit, flat)
        found.append((summed, np.bincount(unit, minlength=len(names)).astype(np.float32)))
    (first, few), (second, many) = found
    return (first, second), (few, many)


def _dealt(counts: tuple[Floats, Floats], shuffles: int, rng: np.random.Generator) -> Floats:
    """(R, U): 1 where a source keeps its labels, 0 where they are exchanged."""
    only = [own > 0 for own in counts]
    both = only[0] & only[1]
    kept = np.ones((shuffles, len(both)), dtype=np.float32)
    kept[:, both] = rng.integers(0, 2, size=(shuffles, int(both.sum())))
    alone = np.flatnonzero(~both)
    labels = only[0][alone]
    dealt = rng.permuted(np.tile(labels, (shuffles, 1)), axis=1)
    kept[:, alone] = dealt == labels
    return kept


def _distance_of(
    kept: Floats, sums: tuple[Floats, Floats], counts: tuple[Floats, Floats], shape: Sequence[int]
) -> Profiles:
    """(R,) distances where (R, U) sources keep their labels or have them exchanged."""
    found = []
    step = max(1, _AT_ONCE // max(1, sums[0].shape[1]))
    difference, whole = sums[0] - sums[1], sums[0].sum(0) + sums[1].sum(0)
    lead, all_of = counts[0] - counts[1], counts[0].sum() + counts[1].sum()
    for start in range(0, len(kept), step):
        part = kept[start : start + step]
        first, few = part @ difference + sums[1].sum(0), part @ lead + counts[1].sum()
        second, many = whole - first, all_of - few
        profiles = [
            np.divide(summed, np.maximum(count, 1)[:, None], dtype=np.float32).reshape(-1, *shape)
            for summed, count in ((first, few), (second, many))
        ]
        found.append(js_distance(*profiles))
    return np.concatenate(found)


def _resampled(item: Kept, resamples: int, rng: np.random.Generator) -> Floats:
    """(R, L, E) profiles of sources that are drawn with replacement."""
    drawn, unit = draw_sources(item.sources, resamples, rng)
    weights = drawn[:, unit].astype(np.float32)
    profiles: Floats = weights @ item.gates.reshape(len(unit), -1) / weights.sum(1, keepdims=True)
    return profiles.reshape(resamples, *item.gates.shape[1:])


def bits(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Entropy (...) in bits of shares (..., E), with what they lack of 1 as one more share."""
    rest = np.maximum(1 - values.sum(-1), 0)
    # The bound keeps 0 * log 0, which is 0 here, from becoming NaN. Faster than scipy's by far, in single precision.
    taken = (values * np.log2(np.maximum(values, 1e-12))).sum(-1)
    found: NDArray[np.floating] = -taken - rest * np.log2(np.maximum(rest, 1e-12))
    return found
