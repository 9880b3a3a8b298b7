"""What a plan says of a sequence: its attacks, how much of each is learnt and measured, and the orders."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from molex_adapt.conventions import Seconds
from molex_adapt.metrics import Ties
from molex_adapt.recipe import Options

TIES: Ties = "step"
"""Equal scores, such as the probe of durations gives, are accepted or refused together."""


class Settings(Options):
    """Everything that decides a sequence's figures, but the recordings, the recipe and the methods themselves.

    A cell's arguments are the number of an order, and a seed.

    Attributes:
        base: folder of the frozen base.
        development: attacks that choices of methods may be made on.
        test: attacks that they may not.
        train, dev: forged recordings that are learnt of an attack, and as many bona fide ones.
        forged: test recordings of an attack.
        bona_fide: test recordings that all attacks are held against.
        measured_seconds: at most the first so many of what is measured.
        keep: bytes of recordings that a method with replay may keep of one domain.
        refused: share of the bona fide development recordings that the threshold refuses at most, of new voices too.
        resamples: of the test sources, for intervals.
    """

    base: Path = Path("registry/base")
    development: list[str] = Field(min_length=1)
    test: list[str] = Field(min_length=1)
    train: int = Field(ge=4)
    dev: int = Field(ge=4)
    forged: int = Field(ge=4)
    bona_fide: int = Field(ge=4)
    measured_seconds: Seconds = Field(gt=0)
    keep: int = Field(ge=0)
    refused: float = Field(0.03, ge=0, lt=1)
    resamples: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.attacks)) < len(self.attacks):
            raise ValueError("an attack is named twice; expected each once, in development or in test")
        return self

    @property
    def attacks(self) -> list[str]:
        """All of both kinds, in the order of the first sequence."""
        return [*self.development, *self.test]

    def order(self, number: int) -> list[str]:
        """The attacks in the order of one sequence, shuffled by its number."""
        names = self.attacks
        random.Random(number).shuffle(names)
        return names
