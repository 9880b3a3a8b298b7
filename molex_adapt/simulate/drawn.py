"""A condition drawn for each recording by chance."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from molex_adapt.conventions import DRAWN
from molex_adapt.simulate.attack import Span, Wave
from molex_adapt.simulate.channel import Band, Clip, Level, Noise, Resample, Room
from molex_adapt.simulate.codecs import G722, Aac, ALaw, AmrNb, Gsm, Mp3, MuLaw, Opus, Vorbis
from molex_adapt.simulate.condition import Condition, settle

POOL: tuple[Condition, ...] = (
    *(Room(), Noise(), Clip(), Level()),
    Band(low=(0.0, 350.0), high=(3_400.0, 7_600.0)),
    Resample(rate=[8_000, 11_025, 12_000]),
    *(G722(), MuLaw(), ALaw(), Gsm()),
    AmrNb(bit_rate=[4750, 6700, 7950, 12200]),
    Opus(bit_rate=[6_000, 8_000, 12_000, 16_000, 24_000, 32_000]),
    Mp3(bit_rate=[16_000, 24_000, 32_000, 48_000, 64_000]),
    Aac(bit_rate=[12_000, 16_000, 24_000, 32_000, 48_000]),
    Vorbis(quality=[0.0, 0.1, 0.3, 0.5]),
)
"""What is drawn from, in the order in which it happens to a recording."""

Links = Annotated[int, Field(ge=0, le=len(POOL))]


class Drawn(Condition):
    """A chain of its own for every recording; nothing that draws knows whether it is forged."""

    name: ClassVar[str] = DRAWN
    count: Span[Links] = (0, 2)
    """The fewest and the most conditions of a recording; every number between is as likely, and so is every one of
    the pool."""

    def check(self) -> None:
        for condition in POOL:
            condition.check()

    def links(self, rng: np.random.Generator) -> tuple[Condition, ...]:
        low, high = self.count
        places = rng.choice(len(POOL), int(rng.integers(low, high + 1)), replace=False)
        return tuple(POOL[at] for at in sorted(places.tolist()))

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return settle((self,), rng).apply(wave, rng)
