"""Attacks against bona fide speech in the same condition, beside what a condition alone does to bona fide speech.

Routers can follow the channel. An attack that was heard through a codec then differs from untouched bona fide speech
although nothing but the codec differs. So an attack is compared here within each condition, where shuffled labels
cannot carry the condition, and its distance is held against the channel effect: how far bona fide speech in one
condition lies from bona fide speech in another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.profiles import Kept, compared
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.findings import Distance, Within

ALPHA = 0.05


def within_conditions(
    everyone: Kept, corpus: Corpus, controls: Sequence[Distance], *, seed: int = 0
) -> list[Within]:
    """Every attack, and the null control, in each known condition that bona fide speech was heard in as well.

    Args:
        everyone: gates of the recordings of the corpus, in its order.
        corpus: the recordings that were profiled.
        controls: bona fide speech of one condition against another.
        seed: of the shuffles and resamples.
    """
    names, conditions = (np.array(column, dtype=object) for column in (corpus.attacks, corpus.conditions))

    def kept(name: str, condition: str) -> Kept:
        return everyone.pick(np.asarray((names == name) & (conditions == condition), dtype=bool))

    heard = {row[1] for row in corpus.rows if row[0] == BONA_FIDE}
    cells = [row[:2] for row in corpus.rows if row[0] != BONA_FIDE and row[1] and row[1] in heard]
    parts: dict[str, Kept] = {f"bona fide {condition}": kept(BONA_FIDE, condition) for _, condition in cells}
    parts |= {f"cell {at}": kept(*cell) for at, cell in enumerate(cells)}
    pairs = [(f"cell {at}", f"bona fide {condition}") for at, (_, condition) in enumerate(cells)]
    largest = max(controls, key=lambda item: item.distance, default=None)
    found = zip(cells, compared(parts, pairs, seed=seed), strict=True)
    return [_within(*cell, item, largest) for cell, item in found]


def _within(attack: str, condition: str, found: Distance, largest: Distance | None) -> Within:
    beyond = None
    if largest is not None:
        # Few recordings are never quite alike, and a cell has fewer than a control.
        clear = found.ci[0] - found.chance > largest.ci[1] - largest.chance
        beyond = found.p_corrected < ALPHA and clear
    return Within(
        attack,
        condition,
        found.distance,
        found.ci,
        found.chance,
        found.p,
        found.p_corrected,
        found.sources,
        None if largest is None else largest.distance,
        beyond,
    )
