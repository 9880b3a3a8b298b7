"""What a plan says of a sequence: its domains, their sizes, and the orders they are learnt in."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from pydantic import Field

from molex_adapt.conventions import Seconds
from molex_adapt.recipe import DemoDomain, Options


class PlannedDomain(DemoDomain):
    """An attack or a codec (see `coded`), and the finish that it and its bona fide speech go through."""

    stage: dict[str, Any] = Field({})


class Settings(Options):
    """Everything that decides a sequence's figures, but the recipe and the methods themselves.

    A cell's arguments are the number of an order, and a seed.
    """

    base: Path = Path("registry/base")
    domains: dict[str, PlannedDomain] = Field(min_length=2)
    """In the order of the first sequence."""
    held_out_speaker: str = ""
    train: int = Field(ge=4)
    dev: int = Field(ge=4)
    test: int = Field(ge=4)
    held_out: int = Field(ge=0)
    measured_seconds: Seconds = Field(4.0, gt=0)

    def order(self, number: int) -> list[str]:
        """The domains in the order of one sequence; 0 is the plan's own, others are shuffled by their number."""
        names = list(self.domains)
        if number:
            random.Random(number).shuffle(names)
        return names
