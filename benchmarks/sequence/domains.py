"""The domains of a plan: forged speech, bona fide speech beside it, and what every method is measured on.

They come from the manifests of `python -m tools.wideband.domains`, whose parts have different voices. A copy is learnt
beside the recording that it was made of; sentences of a synthetic voice have none, and any recordings of their part
stand beside them. What is measured went through drawn conditions, in both classes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recordings import manifest_of, of_split, shortened
from benchmarks.sequence.settings import Settings
from benchmarks.workbench import features_of
from molex_adapt.conventions import Split
from molex_adapt.data import Table, Utterance
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.features import Features, concatenate
from molex_adapt.run import Run
from molex_adapt.train.prepare import DomainData

MEASURED = "drawn"
"""The condition of test recordings that is measured."""


@dataclass(frozen=True)
class Measured:
    """What methods are measured on, every utterance once.

    Attributes:
        features: of all.
        paths: their files, in the same order.
        sets: per domain, indices of its utterances, bona fide ones and, of a test, forged ones.
        voices: who speaks; empty where nobody asks.
    """

    features: Features
    paths: tuple[Path, ...]
    sets: Mapping[str, NDArray[np.int64]]
    voices: tuple[str, ...] = ()

    @property
    def bona_fide(self) -> NDArray[np.bool_]:
        """(N,)."""
        return self.features.bona_fide.numpy()

    def sources(self, name: str) -> tuple[list[str], list[str]]:
        """Of a domain's bona fide and of its forged recordings, in the order of its set."""
        found: tuple[list[str], list[str]] = ([], [])
        for row in self.sets[name]:
            found[0 if self.features.bona_fide[row] else 1].append(self.features.sources[row])
        return found

    def pick(self, rows: NDArray[np.int64]) -> Measured:
        """Some utterances, without sets and voices."""
        at = rows.tolist()
        return Measured(self.features.pick(at), tuple(self.paths[i] for i in at), {})


@dataclass(frozen=True)
class Domains:
    """A plan's data under one base.

    Attributes:
        data: per domain, what a method may learn from; its `test` is its `dev`: no method sees what is measured.
        development: bona fide recordings of all development splits, to set a threshold on.
        test: what is measured, by test voices.
        digest: of the recordings that were chosen, wherever they lie.
    """

    data: dict[str, DomainData]
    development: Measured
    test: Measured
    digest: str


@dataclass(frozen=True)
class Chosen:
    """The recordings of a plan.

    Attributes:
        forged: per attack, of all three splits.
        beside: per attack, the bona fide recordings that are learnt with them: of train and dev.
        test: bona fide recordings that all attacks are held against.
    """

    forged: dict[str, list[Utterance]]
    beside: dict[str, list[Utterance]]
    test: list[Utterance]

    def digest(self) -> str:
        """Of what was chosen, wherever it lies."""
        rows = {row for rows in (*self.forged.values(), *self.beside.values(), self.test) for row in rows}
        names = (f"{row.attack} {row.source} {row.speaker} {row.split} {row.condition}" for row in rows)
        return sha256("\n".join(sorted(names)))[:16]


def make_domains(settings: Settings, folder: Path, work: Path, detector: Detector, run: Run) -> Domains:
    """Choose recordings, shorten what is measured, extract features; what a former run made is used again.

    Raises:
        DataError: a manifest is missing, or holds too few recordings of a split.
    """
    chosen = choose(settings, folder)

    def extracted(name: str, rows: Sequence[Utterance]) -> dict[Path, Features]:
        features = features_of(detector, name, Table(tuple(rows), str(folder)), run, work / "features")
        return {row.path: features.pick([at]) for at, row in enumerate(rows)}

    def measured(name: str, sets: Mapping[str, list[Utterance]]) -> Measured:
        rows = {row.path: row for rows in sets.values() for row in rows}
        short = [shortened(row, settings.measured_seconds, work / "measured") for row in rows.values()]
        place = {path: at for at, path in enumerate(rows)}
        return Measured(
            concatenate(list(extracted(f"{name}-measured", short).values())),
            tuple(row.path for row in short),
            {key: np.array([place[row.path] for row in rows]) for key, rows in sets.items()},
            tuple(row.speaker or "" for row in short),
        )

    real = {row.path: row for rows in chosen.beside.values() for row in rows}
    known, data = extracted("bonafide", list(real.values())), {}
    for name, rows in chosen.forged.items():
        run.progress.note(f"features of {name}")
        heard = [row for row in rows if row.split != "test"]
        known |= extracted(name, heard)
        data[name] = _learnable([*chosen.beside[name], *heard], name, known)
    return Domains(
        data,
        measured("dev", {name: of_split(rows, "dev") for name, rows in chosen.beside.items()}),
        measured(
            "test", {name: [*chosen.test, *of_split(rows, "test")] for name, rows in chosen.forged.items()}
        ),
        chosen.digest(),
    )


def choose(settings: Settings, folder: Path) -> Chosen:
    """Draw recordings by the names of attacks and splits, so that the same manifests give the same.

    Raises:
        DataError: a manifest is missing, or holds too few recordings of a split.
    """
    everyone = manifest_of(folder, "bonafide")
    recordings = {(row.source, row.speaker): row for row in everyone}
    wanted: dict[Split, int] = {"train": settings.train, "dev": settings.dev, "test": settings.forged}
    chosen = Chosen({}, {}, _some(everyone, "bonafide", "test", settings.bona_fide))
    for name in settings.attacks:
        table = manifest_of(folder, name)
        drawn = [row for split, count in wanted.items() for row in _some(table, name, split, count)]
        copied = all((row.source, row.speaker) in recordings for row in drawn)
        if copied:
            twins = [recordings[row.source, row.speaker] for row in drawn if row.split != "test"]
        else:  # a text may have a recording's number: it is none of it
            drawn = [replace(row, source=f"{name}/{row.source}") for row in drawn]
            twins = [row for split in ("train", "dev") for row in _some(everyone, name, split, wanted[split])]
        chosen.forged[name], chosen.beside[name] = drawn, twins
    return chosen


def _some(table: Table, name: str, split: Split, count: int) -> list[Utterance]:
    fit = sorted(
        (row for row in table if row.split == split and (split != "test" or row.condition == MEASURED)),
        key=lambda row: (row.source, row.speaker or ""),
    )
    if len(fit) < count:
        raise DataError(
            f"{table.root}: {len(fit)} recordings of {split}, {count} are wanted. Make more of them "
            "(tools.wideband.domains), or lower the plan's number."
        )
    return random.Random(f"{name} {split}").sample(fit, count)


def _learnable(rows: list[Utterance], name: str, known: Mapping[Path, Features]) -> DomainData:
    train, dev = (
        concatenate([known[row.path] for row in of_split(rows, split)]) for split in ("train", "dev")
    )
    return DomainData(Table(tuple(rows), name), train, dev, dev, (), ())
