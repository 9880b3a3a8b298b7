"""The null control: no attack at all."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.simulate.attack import CopySynthesis, Wave
from molex_adapt.simulate.channel import Resample
from molex_adapt.simulate.condition import settle
from molex_adapt.simulate.conditions import Conditions


class Null(CopySynthesis):
    """The control: bona fide speech in another condition, under the label spoof; its EER must be 45 to 55 %."""

    name: ClassVar[str] = NULL_DOMAIN
    conditions: Annotated[Conditions, Field(min_length=1)] = (Resample(),)
    """What the copies alone go through."""

    def check(self) -> None:
        for condition in self.conditions:
            condition.check()

    def condition(self, rng: np.random.Generator) -> str | None:
        return settle(self.conditions, rng).name

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        return settle(self.conditions, rng).apply(wave, rng)
