"""What every condition is: something that happens to recordings of both classes and never makes one forged."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from molex_adapt.conventions import NO_CONDITION
from molex_adapt.simulate.attack import Wave

_AND = "+"


class Condition(BaseModel, ABC):
    """The parameters of one condition; subclasses say what it does. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    def check(self) -> None:
        """Raise DataError unless everything the condition needs is installed; the default needs nothing more."""

    @abstractmethod
    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        """Record (T,) samples at 16 kHz again, (T',) with T' about T; `rng` is the only source of chance."""

    def links(self, rng: np.random.Generator) -> tuple[Condition, ...]:
        """What this comes to for one recording: itself, unless it draws others."""
        return (self,)

    @property
    def moves_time(self) -> bool:
        """Whether what stands at a time of the recording stands elsewhere afterwards."""
        return False

    def record(self) -> dict[str, Any]:
        """Name and every parameter, as JSON values."""
        return {"name": self.name, **self.model_dump(mode="json")}

    def __str__(self) -> str:
        """NAME:key=value,key=value with the parameters that differ from their defaults; `read_condition` reads it."""
        stated = self.model_dump(mode="json", exclude_defaults=True)
        parts = [f"{key}={_shown(value)}" for key, value in stated.items()]
        return f"{self.name}:{','.join(parts)}" if parts else self.name


@dataclass(frozen=True, slots=True)
class Chain:
    """The conditions that one recording goes through, in order, and how a manifest calls them together."""

    links: tuple[Condition, ...]
    name: str

    def apply(self, wave: Wave, rng: np.random.Generator) -> Wave:
        """(T,) to (T',), one condition after the other."""
        for link in self.links:
            wave = link.apply(wave, rng)
        return wave


def settle(conditions: Sequence[Condition], rng: np.random.Generator) -> Chain:
    """The chain of one recording; a condition that draws others is called by their names alone, without parameters."""
    links: list[Condition] = []
    names: list[str] = []
    for condition in conditions:
        found = condition.links(rng)
        links += found
        names += [str(condition)] if found == (condition,) else [link.name for link in found]
    return Chain(tuple(links), joined(names))


def joined(names: Iterable[str | None]) -> str:
    """One name for several conditions in order; what is not known, or none, is left out."""
    return _AND.join(name for name in names if name not in (None, NO_CONDITION)) or NO_CONDITION


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    whole = isinstance(value, float) and value.is_integer()
    return value if isinstance(value, str) else json.dumps(int(value) if whole else value)
