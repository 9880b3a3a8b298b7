"""What is analysed: the truth of every recording in columns, the rows of the result, and who is in the samples.

Everything that must be decided before the first recording is decoded is decided here, from the table alone. So all of
it is the same in every process that works on a part of the table, and nothing has to be kept to be chosen later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label
from molex_adapt.data import Table
from molex_adapt.digest import sha256
from molex_adapt.features import Features

Indices: TypeAlias = NDArray[np.intp]
Row: TypeAlias = tuple[str, str, Label]
"""Attack (or "bonafide"), condition ("" where none is known), label."""

PROFILED, ABLATED = 4000, 1000
"""Most recordings whose gates are kept one by one, and that every expert is switched off for; they bound memory and
time whatever the size of the corpus."""
PROFILED_EACH, ABLATED_EACH = 250, 40
"""The same of one attack; bona fide speech has several times as many, since every attack is compared with it."""
BONA_FIDE_SHARES = 4
_EVERYONE = 20_000


@dataclass(frozen=True)
class Corpus:
    """N recordings as columns.

    Attributes:
        attacks: name of the attack; "bonafide" for bona fide speech.
        conditions: what they went through; "" where that is not known.
        bona_fide: (N,) bool.
        sources: source recordings; copies of one share it.
        keys: what tells recordings apart, such as their paths.
    """

    attacks: tuple[str, ...]
    conditions: tuple[str, ...]
    bona_fide: NDArray[np.bool_]
    sources: tuple[str, ...]
    keys: tuple[str, ...]
    everyone: bool = False
    """Whether all are profiled, up to 20,000: there are no labels to draw a sample by."""

    def __len__(self) -> int:
        return len(self.attacks)

    @classmethod
    def of_table(cls, table: Table) -> Corpus:
        """From a table of recordings."""
        return cls(
            tuple(_row_name(item.attack, item.label == BONA_FIDE) for item in table),
            tuple(item.condition or "" for item in table),
            np.array([item.label == BONA_FIDE for item in table], dtype=bool),
            tuple(item.source or str(item.path) for item in table),
            tuple(str(item.path) for item in table),
        )

    @classmethod
    def of_features(cls, features: Features) -> Corpus:
        """From prefix features, which know no conditions."""
        real = features.bona_fide.numpy()
        names = tuple(map(_row_name, features.attacks, real.tolist()))
        return cls(names, ("",) * len(names), real, features.sources, tuple(map(str, range(len(names)))))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are there: sorted by attack and condition, bona fide speech last."""
        label = np.where(self.bona_fide, BONA_FIDE, SPOOF).tolist()
        found = set(zip(self.attacks, self.conditions, label, strict=True))
        return tuple(sorted(found, key=lambda row: (row[2] == BONA_FIDE, row)))

    @cached_property
    def row_of(self) -> Indices:
        """(N,) the row of every recording."""
        number = {row: at for at, row in enumerate(self.rows)}
        label = np.where(self.bona_fide, BONA_FIDE, SPOOF).tolist()
        found = zip(self.attacks, self.conditions, label, strict=True)
        return np.array([number[row] for row in found], dtype=np.intp)

    @cached_property
    def names(self) -> list[str]:
        """The attacks, and "bonafide" last where there is such speech."""
        return list(dict.fromkeys(row[0] for row in self.rows))

    @cached_property
    def profiled(self) -> Indices:
        """Recordings whose gates are kept one by one, in rising order."""
        if self.everyone:
            return np.array(sorted(self._order[:_EVERYONE]), dtype=np.intp)
        return self._sample(PROFILED, PROFILED_EACH)

    @cached_property
    def ablated(self) -> Indices:
        """Recordings that every expert is switched off for; they are among `profiled`."""
        return self._sample(ABLATED, ABLATED_EACH)

    def whole(self) -> Corpus:
        """The same, with everyone profiled."""
        return replace(self, everyone=True)

    def of(self, which: Sequence[int] | Indices) -> Corpus:
        """Some of the recordings."""
        at = [int(index) for index in which]
        return Corpus(
            tuple(self.attacks[i] for i in at),
            tuple(self.conditions[i] for i in at),
            self.bona_fide[at],
            tuple(self.sources[i] for i in at),
            tuple(self.keys[i] for i in at),
        )

    @cached_property
    def _order(self) -> list[int]:
        """All recordings in an order that looks random and is the same everywhere.

        Sources come first in it: copies of one recording by several attacks are then in the samples of all of them, and
        are compared with each other.
        """
        place = {source: sha256(source) for source in self.sources}
        return sorted(range(len(self)), key=lambda i: (place[self.sources[i]], sha256(self.keys[i])))

    def _sample(self, most: int, each: int) -> Indices:
        shares = {name: BONA_FIDE_SHARES if name == BONA_FIDE else 1 for name in self.names}
        each = max(1, min(each, most // max(1, sum(shares.values()))))
        left = {name: each * share for name, share in shares.items()}
        kept = []
        for index in self._order:
            name = self.attacks[index]
            if left[name] > 0:
                left[name] -= 1
                kept.append(index)
        return np.array(sorted(kept), dtype=np.intp)


def _row_name(attack: str | None, bona_fide: bool) -> str:
    return attack or (BONA_FIDE if bona_fide else SPOOF)
