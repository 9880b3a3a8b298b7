"""How many recordings an expert needs: what it adds to the readout alone, on voices that nothing heard.

A cell is an attack that the shipped detector has not met, and how many forged recordings of it, and as many real ones,
`add-expert` learns from. Development and test split are the same for all numbers.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK
from molex_adapt.api import Registry
from molex_adapt.data import Table, Utterance, read
from molex_adapt.detector import Detector
from molex_adapt.metrics import eer, paired_change
from molex_adapt.recipe import Options
from molex_adapt.run import Run
from molex_adapt.train import withdrawal
from molex_adapt.train.acceptance import DomainScores, score_sets
from molex_adapt.train.former import Former
from molex_adapt.train.judgement import Adapted, compare_all

SHIPPED = Path("registry")


class Settings(Options):
    """Which of the recordings that are there are drawn, and what decides the training."""

    seed: int = 0


@dataclass
class Seen:
    """Test scores of one command, of every domain, and what the expert came to.

    Attributes:
        before, alone, trained: of the old mixture, with the readout that learnt the new attack, and with the expert.
        threshold: the frozen one; nats.
        why_withdrawn: of the expert; empty where it is not.
    """

    before: dict[str, DomainScores] = field(default_factory=dict)
    alone: dict[str, DomainScores] = field(default_factory=dict)
    trained: dict[str, DomainScores] = field(default_factory=dict)
    threshold: float = 0.0
    why_withdrawn: str = ""


def measure(
    plan: Plan, cells: list[Cell], domains: Path = WORK / "many"
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Add an expert to a copy of the shipped registry, from sets that tools.wideband.domains made."""
    settings = plan.settings_as(Settings)
    for cell in cells:
        attack, count = cell.method.partition("+")[0], int(cell.arguments[0])
        table = chosen(domains, attack, count, settings.seed)
        with tempfile.TemporaryDirectory() as folder:
            registry = Registry.open(shutil.copytree(SHIPPED, Path(folder) / "registry"))
            with watched() as seen:
                report = registry.add_expert(
                    table,
                    domain=attack,
                    recipe=plan.resolved(cell.method),
                    run=Run(device="cpu", precision="fp32", seed=settings.seed),
                )
        yield (
            cell,
            figures(seen, attack)
            | {
                "train": count,
                "steps": report.training["expert"]["steps"],
                "withdrawn": report.withdrawn,
                "refused_for": list(report.refused),
            },
        )


def chosen(domains: Path, attack: str, count: int, seed: int) -> Table:
    """So many training copies, the recordings that all copies were made of, and both whole other splits.

    Raises:
        ValueError: there are fewer copies.
    """
    forged, real = (list(read(domains / f"{name}.csv")) for name in (attack, "bonafide"))
    copies = [item for item in forged if item.split == "train"]
    if len(copies) < count:
        raise ValueError(f"{domains} has {len(copies)} training copies by {attack}, {count} are needed")
    # Of one permutation, so that a smaller set is part of a larger one.
    order = np.random.default_rng(seed).permutation(len(copies))[:count]
    kept = [copies[at] for at in sorted(order)] + [item for item in forged if item.split != "train"]
    made_of = {(item.split, item.source) for item in kept}
    rows: list[Utterance] = kept + [item for item in real if (item.split, item.source) in made_of]
    return Table(tuple(rows), attack)


@contextmanager
def watched() -> Iterator[Seen]:
    """What one `add_expert` scores while it decides whether its expert stands."""
    seen = Seen()
    better = withdrawal.ReadoutAlone.better

    def compared(before: Mapping[str, DomainScores], after: Mapping[str, DomainScores], *others: Any) -> None:
        seen.before, seen.alone = dict(before), dict(after)
        compare_all(before, after, *others)

    def judged(
        self: withdrawal.ReadoutAlone, detector: Detector, former: Former, result: Adapted, accept: bool
    ) -> str:
        seen.trained, seen.threshold = score_sets(detector, former.sets), result.threshold
        seen.why_withdrawn = better(self, detector, former, result, accept)
        return seen.why_withdrawn

    with (
        mock.patch(f"{withdrawal.__name__}.compare_all", compared),
        mock.patch.object(withdrawal.ReadoutAlone, "better", judged),
    ):
        yield seen


def figures(seen: Seen, attack: str) -> dict[str, Any]:
    """EER of the new attack, what the expert changes in it, and the real speech that is refused, at each stage."""
    stages = {"before": seen.before, "readout": seen.alone, "expert": seen.trained}
    alone, trained = seen.alone[attack], seen.trained[attack]
    change, interval = paired_change(*alone.classes, *trained.classes, groups=alone.groups)
    return {
        "eer": {name: eer(*scored[attack].classes) for name, scored in stages.items()},
        "change": [change, *interval],
        "refused": {
            name: float((scored[attack].classes[0] < seen.threshold).mean())
            for name, scored in stages.items()
        },
        "why_withdrawn": seen.why_withdrawn,
        "test": [len(scores) for scores in alone.classes],
    }
