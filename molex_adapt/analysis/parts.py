"""What each expert, all experts together, and the readout are worth for each attack.

Shapes: N recordings, S of them with every expert switched off, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from molex_adapt.analysis.corpus import Corpus, Indices
from molex_adapt.analysis.observe import HEIRS
from molex_adapt.analysis.observed import Observed
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.findings import Ablation, Errors, Interval, WithoutWitness
from molex_adapt.metrics import FEWEST_FOR_INTERVAL, eer, eer_interval, paired_changes
from molex_adapt.metrics.resampling import Groups, draw_sources

Floats: TypeAlias = NDArray[np.float64]
Removed = TypeVar("Removed", Ablation, WithoutWitness)

_TAIL = 0.025
"""Of a distribution on either side of an interval."""
RESAMPLES = 300
"""Fewer than for an evaluation: there are as many intervals as attacks times experts, and their ends need no third
digit."""


@dataclass(frozen=True)
class Parts:
    """Scores of a pass beside the truth."""

    observed: Observed
    corpus: Corpus
    experts: Sequence[str]

    def errors(self) -> dict[str, Errors]:
        """Of each attack against all bona fide speech; empty where there is none of either."""
        if not self._bona_fide.size:
            return {}
        return {name: self._errors(name) for name in self._attacks if self._where(name).size}

    def ablation(self) -> list[Ablation]:
        """Each expert switched off, for each attack and for bona fide speech; empty where none was."""
        at = self.observed.ablated
        real = np.flatnonzero(self.corpus.bona_fide[at])
        found = []
        for name in self.corpus.names:
            rows = np.flatnonzero(self._is(name)[at])
            if rows.size:
                found += self._switched_off(name, rows, real if name != BONA_FIDE else None)
        return held_together(found, sum(item.eer_ci is not None and item.heirs == HEIRS[0] for item in found))

    def moved(self) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        """Shares of the movement of each attack's scores: by expert, and by the readout."""
        at = self.observed.ablated
        by_expert, by_readout = {}, {}
        nobody = HEIRS.index("none")
        for name in self.corpus.names:
            rows = np.flatnonzero(self._is(name)[at])
            if not rows.size:
                continue
            own = self.observed.scores[at[rows], None] - self.observed.without[rows, :, nobody]
            sizes = np.append(np.abs(own).mean(0), np.abs(self.observed.told[at[rows]]).mean())
            shares = (sizes / max(float(sizes.sum()), 1e-12)).tolist()
            by_expert[name] = dict(zip(self.experts, shares[:-1], strict=True))
            by_readout[name] = shares[-1]
        return by_expert, by_readout

    @property
    def _attacks(self) -> list[str]:
        return [name for name in self.corpus.names if name != BONA_FIDE]

    @cached_property
    def _bona_fide(self) -> Indices:
        return np.flatnonzero(self.corpus.bona_fide & self.observed.seen)

    @cached_property
    def _names(self) -> NDArray[np.object_]:
        return np.array(self.corpus.attacks, dtype=object)

    def _is(self, name: str) -> NDArray[np.bool_]:
        return np.asarray(self._names == name, dtype=bool)

    def _where(self, name: str) -> Indices:
        return np.flatnonzero(self._is(name) & self.observed.seen)

    def _groups(self, *parts: Indices) -> Groups:
        sources = self.corpus.sources
        real, fake = ([sources[int(i)] for i in part] for part in parts)
        return real, fake

    def _errors(self, name: str) -> Errors:
        real, fake = self._bona_fide, self._where(name)
        seen, groups = self.observed, self._groups(real, fake)
        ((change, interval),) = paired_changes(
            (seen.scores[real], seen.scores[fake]),
            [(seen.bare[real], seen.bare[fake])],
            bootstrap=RESAMPLES,
            groups=groups,
        )
        speaks = bool(np.any(seen.told[fake] != 0))
        told = enough(real, fake)
        own = eer_interval(seen.scores[real], seen.scores[fake], bootstrap=RESAMPLES, groups=groups)
        return Errors(
            eer(seen.scores[real], seen.scores[fake]),
            own if told else None,
            eer(seen.bare[real], seen.bare[fake]),
            eer(seen.told[real], seen.told[fake]) if speaks else None,
            change,
            interval if told else None,
            float(seen.scores[fake].mean()),
            int(real.size),
            int(fake.size),
        )

    def _switched_off(self, name: str, rows: Indices, real: Indices | None) -> list[Ablation]:
        """Of (S,) rows; (S,) `real` ones stand against them, None where there is nothing to stand against."""
        at, without = self.observed.ablated, self.observed.without
        scores = self.observed.scores[at]
        pairs = [(expert, heirs) for expert in range(len(self.experts)) for heirs in range(len(HEIRS))]
        rates: list[tuple[float | None, Interval | None]] = [(None, None)] * len(pairs)
        if real is not None and real.size:
            changes = paired_changes(
                (scores[real], scores[rows]),
                [(without[(real, *pair)], without[(rows, *pair)]) for pair in pairs],
                bootstrap=RESAMPLES,
                groups=self._groups(at[real], at[rows]),
            )
            told = enough(real, rows)
            rates = [(change, interval if told else None) for change, interval in changes]
        moves = without[rows] - scores[rows, None, None]
        means = drawn_means(moves.reshape(len(rows), -1), [self.corpus.sources[int(i)] for i in at[rows]])
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        return [
            Ablation(
                name,
                self.experts[expert],
                HEIRS[heirs],
                *rate,
                float(moves[:, expert, heirs].mean()),
                (float(low[number]), float(high[number])),
                float(np.abs(moves[:, expert, heirs]).mean()),
                len(rows),
            )
            for number, ((expert, heirs), rate) in enumerate(zip(pairs, rates, strict=True))
        ]


def held_together(found: Sequence[Removed], tried: int) -> list[Removed]:
    """The same with intervals that hold for all `tried` pairs of an attack and what was removed together.

    Intervals of 95 % are stretched to Bonferroni's level as those of a normal distribution are: resamples are too few
    to have such tails.
    """
    normal = NormalDist()
    stretch = normal.inv_cdf(1 - _TAIL / max(1, tried)) / normal.inv_cdf(1 - _TAIL)
    return [replace(item, eer_ci_together=_stretched(item, stretch)) for item in found]


def _stretched(item: Ablation | WithoutWitness, stretch: float) -> Interval | None:
    if item.eer_change is None or item.eer_ci is None:
        return None
    low, high = item.eer_ci
    reach = stretch * (high - low) / 2
    return min(low, item.eer_change - reach), max(high, item.eer_change + reach)


def paired_errors(older: Observed, newer: Observed, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Of two passes over one corpus, by attack, what a `Handover` says of EER and mean score."""
    seen = older.seen & newer.seen
    names = np.array(corpus.attacks, dtype=object)
    real = np.flatnonzero(corpus.bona_fide & seen)
    found: dict[str, dict[str, Any]] = {}
    for name in corpus.names:
        rows = np.flatnonzero(np.asarray(names == name, dtype=bool) & seen)
        if not rows.size:
            continue
        found[name] = {"mean_score": (float(older.scores[rows].mean()), float(newer.scores[rows].mean()))}
        if name == BONA_FIDE or not real.size:
            continue
        before, after = ((item.scores[real], item.scores[rows]) for item in (older, newer))
        groups = [corpus.sources[int(i)] for i in real], [corpus.sources[int(i)] for i in rows]
        ((_, interval),) = paired_changes(before, [after], bootstrap=RESAMPLES, groups=groups)
        found[name] |= {
            "eer": (eer(*before), eer(*after)),
            "eer_ci": interval if enough(real, rows) else None,
        }
    return found


def enough(*parts: Indices) -> bool:
    """Whether resamples of these recordings tell anything."""
    return min(part.size for part in parts) >= FEWEST_FOR_INTERVAL


def drawn_means(values: Floats, sources: Sequence[str]) -> Floats:
    """(R, K) means of (S, K) values, with sources drawn with replacement."""
    drawn, unit = draw_sources(sources, RESAMPLES, seed=0)
    weights = drawn[:, unit].astype(float)
    found: Floats = weights @ values / weights.sum(1, keepdims=True)
    return found
