"""What the readout alone reaches on voices that nothing heard, on one base beside another.

A cell is a base. All attacks are learnt at once in closed form, as `train` begins, and no expert is trained: bases of
any size are then told apart by the same recordings. Every attack that was learnt is left out once, too, and of those
that were not some are learnt afterwards. The threshold is set on development voices; test voices are scored once.

Shapes: N recordings.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from pydantic import Field

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK, detector_on
from molex_adapt.atomic import replacing
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, DRAWN, NO_CONDITION, SAMPLE_RATE, SPLITS, Split
from molex_adapt.data import Table, Utterance, decode, read
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.features import extract, readings_of
from molex_adapt.metrics import Ties, eer, eer_interval, resampled_eers, threshold_for_new_voices
from molex_adapt.readout import Lesson, Readings, Readout, learn
from molex_adapt.recipe import Options
from molex_adapt.run import Run
from molex_adapt.simulate.conditions import read_condition

TIES: Ties = "step"
"""Equal scores are accepted or refused together."""
RESAMPLES = 200
"""Of the test sources, for intervals of means and of differences between bases."""
CONDITIONS = (NO_CONDITION, DRAWN)

Scores = NDArray[np.float64]


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


@dataclass(frozen=True)
class Scored:
    """Recordings and their scores (N,) in nats; higher is more bona fide."""

    rows: tuple[Utterance, ...]
    scores: Scores

    def under(self, condition: str) -> Scored:
        """Those in one condition."""
        return self.where([row.condition == condition for row in self.rows])

    def where(self, mask: Sequence[bool]) -> Scored:
        """Some of them."""
        at = np.flatnonzero(mask)
        return Scored(tuple(self.rows[i] for i in at), self.scores[at])

    @property
    def sources(self) -> list[str]:
        """Of each."""
        return [row.source for row in self.rows]


Tested = Mapping[str, tuple[Scored, Scored]]
"""By attack, bona fide and forged recordings."""


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
        manifest = _manifest(domains, "bonafide")
        self.real = {split: self._read(_of(manifest, split)) for split in SPLITS}
        self.forged: dict[str, dict[Split, Heard]] = {}
        for name, place in {**settings.learnt, **settings.unmet}.items():
            run.progress.note(name)
            manifest = _manifest(domains, place)
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
        return Scored(heard.rows, readout.evidence(heard.readings).cpu().double().numpy())

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
        return Lesson(
            Readings(*map(torch.cat, zip(real.readings.views, forged.readings.views, strict=True))),
            torch.tensor([row.label == BONA_FIDE for row in rows]),
            tuple(row.attack for row in rows),
            tuple(row.speaker or row.source for row in rows),
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
        rows = _of(manifest, split)
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


def compared(tested: Tested, threshold: float | None = None) -> dict[str, Any]:
    """By condition: EER of each attack with its interval, what is accepted, their mean and its resamples.

    `resampled` are hundredths of a per cent, of the same resamples for all detectors.
    """
    found: dict[str, Any] = {}
    for condition in CONDITIONS:
        pairs = {
            name: (real.under(condition), forged.under(condition)) for name, (real, forged) in tested.items()
        }
        sets = [
            (real.scores, forged.scores, (real.sources, forged.sources)) for real, forged in pairs.values()
        ]
        rates = {
            name: {
                "eer": eer(real.scores, forged.scores, ties=TIES),
                "ci": eer_interval(
                    real.scores, forged.scores, groups=(real.sources, forged.sources), ties=TIES
                ),
                "accepted": None if threshold is None else float((forged.scores >= threshold).mean()),
                "recordings": len(forged.rows),
            }
            for name, (real, forged) in pairs.items()
        }
        drawn = resampled_eers(sets, bootstrap=RESAMPLES, ties=TIES)
        found[condition] = {
            "attacks": rates,
            "mean": float(np.mean([rate["eer"] for rate in rates.values()])),
            "resampled": np.rint(1e4 * drawn.mean(0)).astype(int).tolist(),
        }
    return found


def refused(real: Scored, threshold: float) -> dict[str, Any]:
    """Share of bona fide recordings below the threshold, in all and by voice with their number."""
    below = real.scores < threshold
    voices: dict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(real.rows, below.tolist(), strict=True):
        voices[row.speaker or row.source].append(hit)
    return {
        "refused": float(below.mean()),
        "recordings": len(below),
        "voices": {name: [len(hits), sum(hits) / len(hits)] for name, hits in sorted(voices.items())},
    }


def under(row: Utterance, condition: str, folder: Path, seed: int) -> Utterance:
    """A recording under a condition, written below `folder` once; chance is its own."""
    about = row.path.stat()
    made_of = f"{row.path.absolute()} {about.st_size} {about.st_mtime_ns} {condition} {seed}"
    name = sha256(made_of)[:32]
    path = folder / f"{name}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chance = np.random.default_rng([seed, int(sha256(f"{row.source} {condition}")[:8], 16)])
        wave = read_condition(condition).apply(decode(row.path), chance)
        with replacing(path, durable=False) as partial:
            soundfile.write(partial, np.clip(wave, -1, 1), SAMPLE_RATE, "PCM_16", format="WAV")
    return replace(row, path=path, condition=condition)


def _control(plain: Scored, other: Scored) -> float:
    """EER of bona fide speech as it is against bona fide speech in a condition: 0.5 where the score does not tell."""
    return float(eer(plain.scores, other.scores, ties=TIES))


def _manifest(folder: Path, place: str) -> Table:
    path = folder / f"{place}.csv"
    if not path.exists():
        raise DataError(f"{path} is missing. Make it as tools/wideband/README.md says")
    return read(path)


def _of(rows: Iterable[Utterance], split: Split) -> list[Utterance]:
    return [row for row in rows if row.split == split]
