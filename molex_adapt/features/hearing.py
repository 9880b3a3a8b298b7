"""How a recording is heard: as it is, or through a chain of conditions that is drawn for it.

Training on recordings as they are alone, a detector takes codecs, bands and noise that it never heard for forgeries.
Shapes: T samples at 16 kHz.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import NO_CONDITION, Seconds
from molex_adapt.data import Table, Utterance, decode
from molex_adapt.digest import sha256
from molex_adapt.errors import AudioError
from molex_adapt.windows import windows_of

if TYPE_CHECKING:
    from molex_adapt.simulate.drawn import Drawn

LINKS = (1, 2)
"""The fewest and the most conditions of a chain."""
_FULL_SCALE = 32_768.0
_FORMAT = "2"
"""Of what is heard; another one where the same chain is heard otherwise."""


def with_draws(table: Table, draws: int) -> Table:
    """Every utterance, followed by itself under so many drawn chains unless it went through a condition already."""

    def heard() -> Iterator[Utterance]:
        for item in table:
            yield item
            if item.condition in (None, NO_CONDITION):
                yield from (replace(item, draw=draw) for draw in range(1, draws + 1))

    return table.with_utterances(heard())


def hear(
    item: Utterance, start: Seconds = 0.0, duration: Seconds | None = None, first_of: int | None = None
) -> NDArray[np.float32]:
    """(T,) of a recording or a part of it, through its chain if it has one, then as 16-bit samples.

    A part goes through the chain by itself. What the chain's codec refuses is heard as it is.

    Args:
        item: the recording, and its chain.
        start, duration: of a part.
        first_of: the first window alone, where none may be longer than so many samples: no more than the recording
            has there, though a codec adds to it.

    Raises:
        AudioError: the recording cannot be read.
    """
    wave = decode(item.path, start=start, duration=duration)
    if first_of is not None:
        wave = windows_of(wave, 1, first_of)[0]
    if not item.draw:
        return wave
    chance = np.random.default_rng(int(_seed_of(item), 16))
    try:
        changed = _drawn().apply(wave, chance)
    except AudioError:
        return wave
    if first_of is not None:
        changed = changed[: len(wave)]
    full = np.iinfo(np.int16)
    return (np.clip(np.round(changed * _FULL_SCALE), full.min, full.max) / _FULL_SCALE).astype(np.float32)


def name_of_draw(item: Utterance) -> str:
    """What tells an utterance's chain from all others, those of other versions of the conditions included."""
    return sha256(_FORMAT, _pool(), _seed_of(item))[:16]


def _seed_of(item: Utterance) -> str:
    # All copies of a recording go through the same: nothing but the forgery tells them apart.
    return sha256(item.source or item.path.name, str(item.draw))[:16]


@cache
def _drawn() -> Drawn:
    from molex_adapt.simulate.drawn import Drawn

    return Drawn(count=LINKS)


@cache
def _pool() -> str:
    from molex_adapt.simulate.drawn import POOL

    return json.dumps([_drawn().record(), *(condition.record() for condition in POOL)], sort_keys=True)
