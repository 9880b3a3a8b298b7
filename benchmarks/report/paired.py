"""Final mean EERs of runs, alone and against each other, with intervals over orders and test sources.

Every run holds its mean EER of the same resamples of the test's sources, and so they are paired between methods and
between orders. An interval is of the mean over orders: orders are drawn anew too, for each of the resamples.

Shapes: O orders, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan import Cell
from molex_adapt.metrics.resampling import percentiles

Figures = dict[str, Any]
Runs = Mapping[Cell, Figures]

DRAWS = 20
"""Draws of the orders for each resample of the sources."""


@dataclass(frozen=True)
class Estimate:
    """Per cent, or points of it.

    Attributes:
        value: mean over orders.
        interval: of 95 %.
        runs: how many it is the mean of.
    """

    value: float
    interval: tuple[float, float]
    runs: int

    def text(self, sign: bool = False) -> str:
        """Value and interval."""
        form = "{:+.2f}" if sign else "{:.2f}"
        low, high = map(form.format, self.interval)
        return f"{form.format(self.value)} [{low}, {high}]"


def in_orders_of_ours(by_method: Mapping[str, Runs]) -> dict[str, dict[Cell, Figures]]:
    """The runs whose order ours was measured in too, so that means over orders are of the same; all, without ours."""
    orders = {cell.arguments for cell in by_method.get("ours", {})}
    kept = {
        name: {cell: run for cell, run in runs.items() if not orders or cell.arguments in orders}
        for name, runs in by_method.items()
    }
    return {name: runs for name, runs in kept.items() if runs}


def in_orders_of_all(by_method: Mapping[str, Runs]) -> dict[str, dict[Cell, Figures]]:
    """The runs whose order every one of the methods was measured in."""
    shared = set.intersection(*({cell.arguments for cell in runs} for runs in by_method.values()))
    return {
        name: {cell: run for cell, run in runs.items() if cell.arguments in shared}
        for name, runs in by_method.items()
    }


def level(runs: Runs, kind: str, attacks: list[str]) -> Estimate:
    """Final mean EER of a method over `attacks`, whose resamples are of this kind."""
    found = list(runs.values())
    return _estimate([final(run, attacks) for run in found], [_resampled(run, kind) for run in found])


def difference(ours: Runs, theirs: Runs, kind: str, attacks: list[str]) -> Estimate | None:
    """Ours minus theirs, in cells that both were run in, on the same recordings; None where there are none."""
    pairs = [(run, theirs[cell]) for cell, run in beside(ours, theirs).items()]
    if not pairs:
        return None
    return _estimate(
        [final(own, attacks) - final(other, attacks) for own, other in pairs],
        [_resampled(own, kind) - _resampled(other, kind) for own, other in pairs],
    )


def final(run: Figures, attacks: list[str]) -> float:
    """Mean EER after the last step, per cent."""
    return float(100 * mean(run["final"][name] for name in attacks))


def beside(ours: Runs, theirs: Runs) -> dict[Cell, Figures]:
    """Ours by the cells of theirs."""
    own = {cell.arguments: run for cell, run in ours.items()}
    return {
        cell: own[cell.arguments]
        for cell, run in theirs.items()
        if cell.arguments in own and own[cell.arguments]["data"] == run["data"]
    }


def _resampled(run: Figures, kind: str) -> NDArray[np.float64]:
    return np.array(run["resampled"][kind], dtype=np.float64) / 100


def _estimate(values: list[float], resampled: list[NDArray[np.float64]]) -> Estimate:
    whole = np.stack(resampled)  # (O, R)
    orders, resamples = whole.shape
    drawn = np.random.default_rng(0).integers(orders, size=(orders, DRAWS, resamples))
    means = whole[drawn, np.arange(resamples)].mean(axis=0)
    return Estimate(mean(values), percentiles(means.ravel(), 0.95), orders)
