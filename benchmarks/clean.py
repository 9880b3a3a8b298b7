"""A first training from recordings that are clean alone, with and without drawn conditions beside them.

What a user has who begins with a folder of his own: real recordings as they are, and copies of most of them by several
attacks. A cell is a base, and whether training hears each recording under drawn conditions, too (`joint.draws`). The
registry learns all attacks at once in closed form, as `train --experts per-attack --readout-only` does, and parts the
recordings by voice itself. Development voices are those that choices were made on; test voices are scored for the
report.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from benchmarks.plan import Cell, Plan
from benchmarks.recordings import manifest_of, of_split, shortened
from benchmarks.scored import CONDITIONS, Scored, compared, refused
from benchmarks.workbench import WORK
from molex_adapt.api import Registry
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, NO_CONDITION, PER_ATTACK, SPOOF, Seconds, Split
from molex_adapt.data import Table, Utterance, read
from molex_adapt.errors import DataError
from molex_adapt.recipe import Options
from molex_adapt.run import Run
from molex_adapt.simulate import make_attack, simulate

MEASURED: tuple[Split, ...] = ("dev", "test")
"""Splits of voices that no cell learns from."""


class Settings(Options):
    """What is learnt and measured.

    Attributes:
        bases: folders by name.
        attacks: that copy recordings, and are measured.
        seconds: the first so many of each recording are learnt from.
        copied: share of the recordings that each attack copies.
    """

    bases: dict[str, Path]
    attacks: list[str] = Field(min_length=2)
    seconds: Seconds = Field(3.0, gt=0)
    copied: float = Field(0.6, gt=0, le=1)


def measure(
    plan: Plan, cells: list[Cell], domains: Path = WORK / "domains", work: Path = WORK / "clean"
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Learn and measure in a registry of each cell's own.

    Args:
        plan: whose.
        cells: of it.
        domains: folder of manifests, as `python -m tools.wideband.domains` writes them.
        work: folder of recordings, copies and features.
    """
    settings = plan.settings_as(Settings)
    for cell in cells:
        seed = int(cell.arguments[0])
        with listening(False) as progress, tempfile.TemporaryDirectory() as folder:
            run = Run(seed=seed, cache=work / "features", progress=progress)
            table = beginning(settings, domains, work, run)
            base = settings.bases[cell.method.partition("+")[0]]
            registry = Registry.create(Path(folder) / "registry", str(base), experts=False)
            recipe = plan.resolved(cell.method)
            registry.train(table, experts=PER_ATTACK, readout_only=True, recipe=recipe, run=run)
            found: dict[str, Any] = {"heard": dict(Counter(row.label for row in table))}
            for split in MEASURED:
                found[split] = measured(registry, settings, domains, split, run)
        yield cell, found


def beginning(settings: Settings, domains: Path, work: Path, run: Run) -> Table:
    """The clean recordings of training voices, shortened, and copies of some of them by each attack; made once."""
    clean = [
        shortened(replace(row, split=None), settings.seconds, work / "real")
        for row in of_split(manifest_of(domains, BONA_FIDE), "train")
        if row.condition == NO_CONDITION
    ]
    real, rows = Table(tuple(clean), str(work / "real")), clean.copy()
    for name in settings.attacks:
        run.progress.note(f"copies by {name}")
        chance = np.random.default_rng([run.seed, settings.attacks.index(name)])
        chosen = sorted(chance.permutation(len(clean))[: round(settings.copied * len(clean))].tolist())
        part = Table(tuple(clean[at] for at in chosen), real.root)
        made = simulate(make_attack(name), part, work / f"{name}-{run.seed}", bona_fide=False, run=run)
        if made.failed:
            raise DataError(
                f"{name} failed on {len(made.failed)} recordings, first {made.failed[0].path}: {made.failed[0].reason}"
            )
        rows += [row for row in read(made.manifest) if row.label == SPOOF]
    return Table(tuple(rows), str(work))


def measured(registry: Registry, settings: Settings, domains: Path, split: Split, run: Run) -> dict[str, Any]:
    """What the registry makes of the voices of one split: EER of each attack, and real speech, by condition."""
    threshold = registry.store.generation().threshold
    real = _scored(registry, of_split(manifest_of(domains, BONA_FIDE), split), run)
    tested = {
        name: (real, _scored(registry, of_split(manifest_of(domains, name), split), run))
        for name in settings.attacks
    }
    return {
        "attacks": compared(tested, threshold),
        "real": {name: refused(real.under(name), threshold) for name in CONDITIONS},
    }


def _scored(registry: Registry, rows: list[Utterance], run: Run) -> Scored:
    by_path = {
        Path(found.path): found.score for found in registry.score([row.path for row in rows], run=run).scores
    }
    return Scored(tuple(rows), np.array([by_path[row.path] for row in rows]))
