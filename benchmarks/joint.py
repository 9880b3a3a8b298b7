"""Several experts trained together on all attacks at once, as `train --experts N` does, against one LoRA.

A cell is a way to train and a seed. Methods: `experts`, the mixture; `lora`, a single one of the rank that the recipe
says, which acts on everything. All have the same data, steps, head and loss, and no readout.

Shapes: N recordings, L blocks, E experts, A attacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from benchmarks.plan import Cell, Plan
from benchmarks.sequence.domains import Domains, Measured, make_domains
from benchmarks.sequence.settings import Settings as Attacks
from benchmarks.workbench import WORK, detector_on
from molex_adapt.data import Table
from molex_adapt.features import Features, concatenate
from molex_adapt.metrics import eer
from molex_adapt.routing import Gates, collect
from molex_adapt.run import Run
from molex_adapt.train.adapt import train_first
from molex_adapt.train.prepare import DomainData

Floats = NDArray[np.float64]
DEAD = 0.01
"""Share of all gates below which an expert counts as dead."""
_SHUFFLES = 2000


class Settings(Attacks):
    """Those of a sequence's attacks, and more.

    Attributes:
        experts: how many learn together.
        families: attacks that are made alike, by a name for each kind; every attack is in one.
    """

    experts: int
    families: dict[str, list[str]]


def measure(
    plan: Plan, cells: list[Cell], domains: Path = WORK / "domains"
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Train and measure each on test voices; `domains` is a folder that tools.wideband.domains made."""
    settings, run = plan.settings_as(Settings), Run()
    bare = detector_on(settings.base, plan.resolved(cells[0].method))
    found = make_domains(settings, domains, WORK / "sequence", bare, run)
    data = together(found)
    for cell in cells:
        method, recipe, seed = (
            cell.method.partition("+")[0],
            plan.resolved(cell.method),
            int(cell.arguments[0]),
        )
        names = [f"all-{at + 1}" for at in range(settings.experts if method == "experts" else 1)]
        detector = detector_on(settings.base, recipe, seed)
        started = time.monotonic()
        train_first(detector, {"all": data}, recipe, Run(seed=seed), sharing=names)
        seconds = time.monotonic() - started
        weights = sum(weight.numel() for name in names for weight in detector.mixture.expert_parameters(name))
        scored = collect(detector, found.test.features)
        figures = {"seconds": seconds, "weights": weights, "eer": rates(scored, found.test)}
        if len(names) > 1:
            figures |= specialised(scored, found.test, settings.families, seed)
        yield cell, figures


def together(domains: Domains) -> DomainData:
    """All attacks as one data set."""

    def whole(split: str) -> Features:
        return concatenate([getattr(data, split) for data in domains.data.values()])

    rows = tuple(row for data in domains.data.values() for row in data.table)
    development = whole("dev")
    return DomainData(Table(rows, "all"), whole("train"), development, development, (), ())


def rates(scored: Gates, test: Measured) -> dict[str, float]:
    """EER of every attack, a fraction."""
    logits, real = scored.logits.double().numpy(), test.bona_fide
    return {
        name: float(eer(logits[rows][real[rows]], logits[rows][~real[rows]]))
        for name, rows in test.sets.items()
    }


def specialised(
    scored: Gates, test: Measured, families: Mapping[str, list[str]], seed: int
) -> dict[str, Any]:
    """Which experts act: how many are dead, and whether attacks that are made alike are routed alike.

    The probability is that of shuffled attacks being at least as much nearer within families than between them.
    """
    gates, real = scored.gates.double().numpy(), test.bona_fide
    profiles = {name: gates[rows[~real[rows]]].mean(0) for name, rows in test.sets.items()}
    shares = np.mean([profile.mean(0) for profile in profiles.values()], axis=0)
    distance = apart(profiles)
    kinds = np.array([next(kind for kind, own in families.items() if name in own) for name in profiles])
    within, between = nearness(distance, kinds)
    random = np.random.default_rng(seed)
    shuffled = [np.subtract(*nearness(distance, random.permutation(kinds))) for _ in range(_SHUFFLES)]
    beaten = sum(value <= within - between + 1e-12 for value in shuffled)
    return {
        "dead": int((shares < DEAD).sum()),
        "least_share": float(shares.min()),
        "largest_share": float(shares.max()),
        "within": within,
        "between": between,
        "p": (1 + beaten) / (1 + _SHUFFLES),
    }


def apart(profiles: Mapping[str, Floats]) -> Floats:
    """(A, A) Jensen-Shannon distance of routing profiles (L, E), to the base 2, the mean over blocks."""
    found = np.zeros((len(profiles), len(profiles)))
    for (row, one), (column, other) in combinations(enumerate(profiles.values()), 2):
        found[row, column] = found[column, row] = np.mean(jensenshannon(one, other, base=2, axis=1))
    return found


def nearness(distance: Floats, kinds: NDArray[np.str_]) -> tuple[float, float]:
    """Mean distance between attacks of the same kind, and between those of different ones."""
    pairs = np.triu(np.ones_like(distance, dtype=bool), 1)
    same = kinds[:, None] == kinds[None]
    return float(distance[pairs & same].mean()), float(distance[pairs & ~same].mean())
