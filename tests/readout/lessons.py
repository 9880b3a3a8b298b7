"""What readouts learn from in these tests, and what they keep."""

from __future__ import annotations

import numpy as np
import torch

from molex_adapt.low_level import STATISTICS
from molex_adapt.readout import Lesson, Readings, Readout

STATES = 40


def lesson(count: int, seed: int, attacks: dict[str, int], shift: float = 4.0) -> Lesson:
    """So many of bona fide speech and of each attack, whose recordings are shifted in one feature of either view."""
    generator = torch.Generator().manual_seed(seed)
    total = count * (1 + len(attacks))
    spectrum = torch.randn(total, STATISTICS, generator=generator) * 3 + 1
    states = torch.randn(total, STATES, generator=generator)
    names: list[str | None] = [None] * count
    for number, (name, at) in enumerate(attacks.items(), 1):
        rows = slice(number * count, (number + 1) * count)
        spectrum[rows, at] += 3 * shift
        states[rows, at % STATES] += shift
        names += [name] * count
    groups = tuple(f"{seed} {at % count}" for at in range(total))
    return Lesson(torch.arange(total) < count, tuple(names), groups, Readings(spectrum, states))


def pair(attacks: dict[str, int], seed: int = 0, count: int = 120) -> tuple[Lesson, Lesson]:
    return lesson(count, seed, attacks), lesson(60, seed + 1, attacks)


def picked(readings: Readings, which: torch.Tensor) -> Readings:
    return Readings(*(view[which] for view in readings.views))


def wrong(evidence: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((evidence > 0) != truth).float().mean())


def arrays_of(readout: Readout) -> dict[str, np.ndarray]:
    return {f"readout.{name}": value.numpy().copy() for name, value in readout.state_dict().items()}
