"""What the readout alone reaches on voices that nothing heard, on one base beside another.

A cell is a base. All attacks are learnt at once in closed form, as `train` begins, and no expert is trained: bases of
any size are then told apart by the same recordings. Every attack that was learnt is left out once, too, and of those
that were not some are learnt afterwards. The threshold is set on development voices; test voices are scored once.

Shapes: N recordings.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from benchmarks.plan import Cell, Plan
from benchmarks.recordings import manifest_of, of_split, under
from benchmarks.scored import CONDITIONS, TIES, Scored, Tested, compared, refused
from benchmarks.workbench import WORK, detector_on
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, DRAWN, NO_CONDITION, SPLITS, Split
from molex_adapt.data import Table, Utterance
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import extract, readings_of
from molex_adapt.metrics import eer, threshold_for_new_voices
from molex_adapt.readout import Lesson, Readings, Readout, groups_of, learn
from molex_adapt.recipe import Options
from molex_adapt.run import Run


class Settings(Options):
    """What is learnt and measured.

    Attributes:
        bases: folders by name.
        learnt, unmet: manifests by attack, below the folder of domains and without their suffix.
        added: unmet attacks that are learnt afterwards, each by itself.
        train: forged recordings of each of them that are learnt from.
        conditions: as `simulate` reads them.
        real: recordings that go through each.
        refused: share of the development recordings that the threshold refuses at most, of new voices too.
    """

    bases: dict[str, Path]
    learnt: dict[str, str] = Field(min_length=2)
    unmet: dict[str, str] = Field({})
    added: list[str] = Field([])
    train: int = Field(200, ge=4)
    conditions: list[str] = Field([])
    real: int = Field(300, ge=4)
    refused: float = Field(0.03, ge=0, lt=1)


def measure(
    plan: Plan, cells: list[Cell], domains: Path = WORK / "domains", work: Path = WORK / "unheard"
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Learn and measure on each base.

    Args:
        plan: whose.
        cells: of it.
        domains: folder of manifests, as `python -m tools.wideband.domains` writes them.
        work: folder of recordings under conditions.
    """
    settings = plan.settings_as(Settings)
    for cell in cells:
        seed = int(cell.arguments[0])
        detector = detector_on(settings.bases[cell.method], plan.resolved(cell.method), seed)
        with listening(False) as progress:
            bench = Bench(detector, settings, domains, work, Run(seed=seed, progress=progress))
            yield cell, bench.figures()


@dataclass(frozen=True)
class Heard:
    """Recordings, and what a readout reads of them."""

    rows: tuple[Utterance, ...]
    readings: Readings


class Bench:
    """One base, and what it reads of all recordings.

    Args:
        detector: without experts.
        settings: of the plan.
        domains: folder of manifests.
        work: folder of recordings under conditions.
        run: how features are extracted; its seed draws recordings.
    """

    def __init__(self, detector: Detector, settings: Settings, domains: Path, work: Path, run: Run) -> None:
        self.detector, self.settings, self.work, self.run = detector, settings, work, run
        manifest = manifest_of(domains, "bonafide")
        self.real = {split: self._read(of_split(manifest, split)) for split in SPLITS}
        self.forged: dict[str, dict[Split, Heard]] = {}
        for name, place in {**settings.learnt, **settings.unmet}.items():
            run.progress.note(name)
            manifest = manifest_of(domains, place)
            splits = SPLITS if name in settings.learnt or name in settings.added else ("test",)
            self.forged[name] = {split: self._read(self._wanted(name, manifest, split)) for split in splits}

    def figures(self) -> dict[str, Any]:
        """All that the page shows, as JSON values."""
        settings = self.settings
        started = time.monotonic()
        readout = self._learnt(settings.learnt)
        seconds = time.monotonic() - started
        threshold = self.threshold(readout)
        real = self.scored(readout, self.real["test"])
        left_out: dict[str, tuple[Scored, Scored]] = {}
        for name in settings.learnt:
            without = self._learnt([other for other in settings.learnt if other != name])
            left_out |= self._tested(without, [name])
        return {
            "heard": {split: len(self.real[split].rows) for split in SPLITS},
            "real": {name: refused(real.under(name), threshold) for name in CONDITIONS},
            "control": _control(real.under(NO_CONDITION), real.under(DRAWN)),
            "conditions": {
                name: self._condition(readout, name, real, threshold) for name in settings.conditions
            },
            "learnt": compared(self._tested(readout, settings.learnt), threshold),
            "unmet": compared(self._tested(readout, settings.unmet), threshold),
            "left_out": compared(left_out),
            "added": {name: self._added(readout, name, threshold) for name in settings.added},
            "seconds": seconds,
        }

    def threshold(self, readout: Readout) -> float:
        """In nats, from development voices."""
        found = self.scored(readout, self.real["dev"])
        voices = [row.speaker or row.source for row in found.rows]
        return threshold_for_new_voices(found.scores, voices, self.settings.refused)

    def scored(self, readout: Readout, heard: Heard) -> Scored:
        """What a readout says of recordings."""
        return Scored(heard.rows, readout.of_many(heard.readings).double().numpy())

    def _tested(self, readout: Readout, names: Iterable[str]) -> Tested:
        real = self.scored(readout, self.real["test"])
        return {name: (real, self.scored(readout, self.forged[name]["test"])) for name in names}

    def _learnt(self, names: Iterable[str], start: Readout | None = None) -> Readout:
        """A readout that has learnt these attacks at once, after what it knew at the start."""
        readout = Readout(self.detector.pooled_width) if start is None else copy.deepcopy(start)
        learn(readout, {name: (self._lesson(name, "train"), self._lesson(name, "dev")) for name in names})
        return readout

    def _lesson(self, name: str, split: Split) -> Lesson:
        """All real speech of a split, and what is learnt of an attack."""
        real, forged = self.real[split], self.forged[name][split]
        rows = (*real.rows, *forged.rows)
        attacks = tuple(row.attack for row in rows)
        voices, sources = [row.speaker or row.source for row in rows], [row.source for row in rows]
        return Lesson(
            torch.tensor([row.label == BONA_FIDE for row in rows]),
            attacks,
            groups_of(voices, sources, attacks),
            Readings(*map(torch.cat, zip(real.readings.views, forged.readings.views, strict=True))),
        )

    def _added(self, readout: Readout, name: str, threshold: float) -> dict[str, Any]:
        """After one more attack: itself, those that were known, and real speech at the threshold of before."""
        after = self._learnt([name], readout)
        real = self.scored(after, self.real["test"])
        return {
            "own": compared(self._tested(after, [name]), threshold),
            "known": compared(self._tested(after, self.settings.learnt), threshold),
            "real": {each: refused(real.under(each), threshold) for each in CONDITIONS},
        }

    def _condition(self, readout: Readout, name: str, real: Scored, threshold: float) -> dict[str, Any]:
        """Real speech under one condition: what is refused, and whether the score tells the condition itself."""
        plain = real.under(NO_CONDITION)
        chosen = set(np.random.default_rng(self.run.seed).permutation(len(plain.rows))[: self.settings.real])
        plain = plain.where([at in chosen for at in range(len(plain.rows))])
        rows = [under(row, name, self.work, self.run.seed) for row in plain.rows]
        heard = self.scored(readout, self._read(rows))
        return refused(heard, threshold) | {"control": _control(plain, heard)}

    def _wanted(self, name: str, manifest: Table, split: Split) -> list[Utterance]:
        rows = of_split(manifest, split)
        if split != "train" or name not in self.settings.added:
            return rows
        if len(rows) < self.settings.train:
            raise DataError(
                f"{manifest.root}: {len(rows)} recordings to learn from, {self.settings.train} are wanted"
            )
        order = np.random.default_rng(self.run.seed).permutation(len(rows))[: self.settings.train]
        return [rows[at] for at in sorted(order)]

    def _read(self, rows: Sequence[Utterance]) -> Heard:
        found, failed = extract(self.detector, Table(tuple(rows), "unheard"), self.run, states=True)
        if failed:
            raise DataError(f"{len(failed)} recordings failed, first {failed[0].path}: {failed[0].reason}")
        return Heard(tuple(rows), readings_of(self.detector, found))


def _control(plain: Scored, other: Scored) -> float:
    """EER of bona fide speech as it is against bona fide speech in a condition: 0.5 where the score does not tell."""
    return float(eer(plain.scores, other.scores, ties=TIES))
