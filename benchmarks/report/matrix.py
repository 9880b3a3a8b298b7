"""What follows from a run's matrix of EERs: forgetting, transfer, means. T steps, D domains; rates are fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from molex_adapt.conventions import NULL_DOMAIN


@dataclass(frozen=True)
class Matrix:
    """EER of every domain after every step.

    Attributes:
        order: domains as they were learnt.
        eer: per domain and control, T values, None where the method was not measured.
    """

    order: Sequence[str]
    eer: Mapping[str, Sequence[float | None]]

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Matrix:
        """Of a row's figures."""
        return cls(figures["order"], figures["matrix"])

    @property
    def final(self) -> dict[str, float]:
        """After the last step, of domains and controls."""
        return {name: self._at(name, -1) for name in self.eer}

    @property
    def final_mean(self) -> float:
        """Over the domains."""
        return mean(self._at(name, -1) for name in self.order)

    @property
    def controls(self) -> list[float]:
        """After the last step, of processing without an attack."""
        return [value for name, value in self.final.items() if is_control(name)]

    @property
    def complete(self) -> bool:
        """Whether the method was measured after every step."""
        return all(value is not None for values in self.eer.values() for value in values)

    @property
    def right_after(self) -> dict[str, float]:
        """Per domain, after its own step."""
        return {name: self._at(name, step) for step, name in enumerate(self.order)}

    @property
    def forward(self) -> float:
        """How much of a domain is known before it is learnt: mean EER of the step before."""
        return mean(self._at(name, step - 1) for step, name in enumerate(self.order) if step)

    @property
    def backward(self) -> float:
        """Mean change from a domain's own step to the last."""
        own = self.right_after
        return mean(self._at(name, -1) - own[name] for name in self.order[:-1])

    @property
    def forgetting(self) -> dict[str, float]:
        """Final EER minus the best since the domain was learnt; the last domain has had no time to be forgotten."""
        return {
            name: self._at(name, -1) - min(self._at(name, at) for at in range(step, len(self.order) - 1))
            for step, name in enumerate(self.order[:-1])
        }

    def _at(self, name: str, step: int) -> float:
        value = self.eer[name][step]
        if value is None:
            raise ValueError(f"{name} was not measured after step {step} of {len(self.order)}")
        return value


def is_control(name: str) -> bool:
    """Whether a set is a control: processing without an attack."""
    return name.startswith(NULL_DOMAIN)
