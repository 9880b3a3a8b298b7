"""What the readout's witnesses are worth: whose attack a recording would be, and the EER without each of them.

Shapes: M profiled recordings, A witnesses, of which N name an attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from molex_adapt.analysis.corpus import Corpus, Indices
from molex_adapt.analysis.observed import Observed
from molex_adapt.analysis.parts import RESAMPLES, drawn_means, enough, held_together
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN
from molex_adapt.findings import Testimony, WithoutWitness
from molex_adapt.metrics import paired_changes
from molex_adapt.witnesses import attack_of, labels_of


@dataclass(frozen=True)
class Witnesses:
    """What a pass heard them say, of the profiled recordings, beside the truth."""

    observed: Observed
    corpus: Corpus

    def testimonies(self) -> list[Testimony]:
        """Of every kind of speech; empty where fewer than two witnesses name an attack."""
        if len(self._naming) < 2:
            return []
        return [self._testimony(name) for name in self._whole.names if self._rows(name).size]

    def without_each(self) -> list[WithoutWitness]:
        """By attack and witness; empty with one witness alone, and where there is nothing to measure against."""
        if len(self.observed.witnesses) < 2 or not self._rows(BONA_FIDE).size:
            return []
        attacks = [name for name in self._whole.names if name not in (BONA_FIDE, NULL_DOMAIN)]
        found = [item for name in attacks for item in self._without_each(name)]
        return held_together(found, sum(item.eer_ci is not None for item in found))

    @cached_property
    def _whole(self) -> Corpus:
        return self.corpus.of(self.observed.profiled)

    @cached_property
    def _labels(self) -> list[str]:
        return labels_of(self.observed.witnesses)

    @cached_property
    def _naming(self) -> list[int]:
        """Of the witnesses, those for one attack."""
        return [at for at, name in enumerate(self.observed.witnesses) if attack_of(name) is not None]

    @cached_property
    def _likely(self) -> NDArray[np.float64]:
        """(M, N) by Bayes' rule which attack a recording would be by, all with the same prior."""
        return np.asarray(softmax(-self.observed.witnessed[:, self._naming], axis=1))

    def _rows(self, name: str) -> Indices:
        return np.flatnonzero(np.array(self._whole.attacks, dtype=object) == name)

    def _sources(self, rows: Indices) -> list[str]:
        return [self._whole.sources[int(at)] for at in rows]

    def _testimony(self, name: str) -> Testimony:
        rows = self._rows(name)
        likely = self._likely[rows]
        names = [self._labels[at] for at in self._naming]
        attacks = [attack_of(self.observed.witnesses[at]) for at in self._naming]
        own = [at for at, attack in enumerate(attacks) if attack == name.lower()]
        named, interval = None, None
        if own:
            first = np.isin(likely.argmax(1), own).astype(float)
            named = float(first.mean())
            if enough(rows):
                means = drawn_means(first[:, None], self._sources(rows))
                low, high = np.percentile(means, [2.5, 97.5])
                interval = float(low), float(high)
        shares = dict(zip(names, likely.mean(0).tolist(), strict=True))
        return Testimony(name, shares, named, interval, int(rows.size))

    def _without_each(self, name: str) -> Sequence[WithoutWitness]:
        real, fake = self._rows(BONA_FIDE), self._rows(name)
        scores, silenced = self.observed.scores[self.observed.profiled], self.observed.silenced
        changes = paired_changes(
            (scores[real], scores[fake]),
            [(column[real], column[fake]) for column in silenced.T],
            bootstrap=RESAMPLES,
            groups=(self._sources(real), self._sources(fake)),
        )
        told = enough(real, fake)
        return [
            WithoutWitness(name, label, change, interval if told else None)
            for label, (change, interval) in zip(self._labels, changes, strict=True)
        ]
