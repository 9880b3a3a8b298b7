"""The plan of a sequence: domains, sizes, budget, runs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molex_adapt.conventions import Seconds
from molex_adapt.recipe import DemoDomain, Options, load

PLAN = Path(__file__).parent / "sequence.yaml"


class PlannedDomain(DemoDomain):
    """An attack, and the last stage that it and its bona fide speech pass."""

    stage: dict[str, Any] = Field({})


class Variant(Options):
    """Another way to do it.

    Attributes:
        about: what is asked.
        options: `key=value` of the recipe.
    """

    about: str
    options: list[str]


class Plan(Options):
    """Everything that decides a sequence's figures, but the methods themselves."""

    domains: dict[str, PlannedDomain] = Field(min_length=2)
    """In the order of the first sequence."""
    held_out_speaker: str = ""
    train: int = Field(ge=4)
    dev: int = Field(ge=4)
    test: int = Field(ge=4)
    held_out: int = Field(ge=0)
    measured_seconds: Seconds = Field(4.0, gt=0)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    runs: dict[str, list[tuple[int, int]]]
    """Per method, pairs of order and seed."""

    options: list[str] = Field([])
    """`key=value` of the recipe, for every method."""
    variants: dict[str, Variant] = Field({})
    """Ablations: a method called NAME+VARIANT is NAME with the variant's options."""

    def overrides(self, method: str) -> list[str]:
        """Options of a method that differ from the shipped recipe.

        Raises:
            KeyError: no such variant.
        """
        variant = method.partition("+")[2]
        return [*self.options, *(self.variants[variant].options if variant else [])]

    def order(self, number: int) -> list[str]:
        """The domains in the order of one sequence; 0 is the plan's own, others are shuffled by their number."""
        names = list(self.domains)
        if number:
            random.Random(number).shuffle(names)
        return names


class Cell(BaseModel):
    """One run of one method."""

    model_config = ConfigDict(frozen=True)

    method: str
    order: int
    seed: int

    @property
    def name(self) -> str:
        """As files are called."""
        return f"{self.method}-{self.order}-{self.seed}"


def read_plan(path: Path = PLAN) -> Plan:
    """A plan from its file."""
    return load(Plan, path)


def cells(plan: Plan, methods: list[str] | None = None) -> list[Cell]:
    """All runs of a plan, or those of some methods."""
    return [
        Cell(method=method, order=order, seed=seed)
        for method, pairs in plan.runs.items()
        if methods is None or method in methods
        for order, seed in pairs
    ]
