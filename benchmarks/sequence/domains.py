"""The domains of a plan: forged speech, its own bona fide speech, and what every method is measured on.

Recordings are divided once, by name; a domain draws its own from each part. Every forged recording has its bona fide
twin in the same set: same voice, same words, same finish. Text to speech draws only from what it can speak, so that
language gives nothing away.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.sequence.coded import attack_of
from benchmarks.sequence.settings import Settings
from benchmarks.workbench import features_of
from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN, SPLITS
from molex_adapt.data import Table, Utterance, assign_splits, read
from molex_adapt.demo.domains import find_speech
from molex_adapt.detector import Detector
from molex_adapt.features import Features, concatenate
from molex_adapt.run import Run
from molex_adapt.simulate import Attack, Finish, make_attack, simulate
from molex_adapt.simulate.attack import TextToSpeech
from molex_adapt.simulate.speech import language_of
from molex_adapt.train.prepare import DomainData


@dataclass(frozen=True)
class Measured:
    """What methods are measured on, every utterance once.

    Attributes:
        features: of all.
        paths: their files, in the same order.
        sets: per domain, indices of its utterances, bona fide and spoofed.
    """

    features: Features
    paths: tuple[Path, ...]
    sets: Mapping[str, NDArray[np.int64]]

    @property
    def bona_fide(self) -> NDArray[np.bool_]:
        """(N,)."""
        return self.features.bona_fide.numpy()


@dataclass(frozen=True)
class Domains:
    """A plan's data under one base.

    Attributes:
        tables: per domain, its utterances with their split; those of the held-out voice have none.
        data: per domain, what a method may learn from; its `test` is its `dev`: no method sees what is measured.
        known, held_out: test recordings of the voices that methods hear, and of the voice they do not.
        development: each domain's development split, to set a threshold on.
    """

    tables: dict[str, Table]
    data: dict[str, DomainData]
    known: Measured
    held_out: Measured | None
    development: dict[str, Measured]


def make_domains(
    settings: Settings, speech: Path | None, work: Path, detector: Detector, run: Run
) -> Domains:
    """Forge, divide, extract; what a former run made is used again."""
    chosen = draw(settings, find_speech(speech), detector.recipe.data.split_seed)
    tables = _forge(settings, chosen, work / "domains", run)
    kept = work / "features"
    features = {name: features_of(detector, name, table, run, kept) for name, table in tables.items()}
    data = {name: _learnable(tables[name], features[name]) for name in tables if name not in nulls(settings)}
    return Domains(
        tables,
        data,
        _measured(tables, features, "test", settings.measured_seconds),
        _measured(tables, features, None, settings.measured_seconds) if settings.held_out else None,
        {
            name: _measured({name: tables[name]}, features, "dev", settings.measured_seconds)
            for name in settings.domains
        },
    )


def nulls(settings: Settings) -> dict[str, dict[str, object]]:
    """The controls, one for each finish: their names and the parameters of these."""
    stages = {_stage_name(domain.stage): domain.stage for domain in settings.domains.values()}
    return {f"{NULL_DOMAIN}{name}": stage for name, stage in stages.items()}


def draw(settings: Settings, speech: Table, split_seed: int) -> dict[str, list[Utterance]]:
    """Recordings of every domain and control, with their split; None is that of the held-out voice."""
    heard = Table(tuple(row for row in speech if row.speaker != settings.held_out_speaker), speech.root)
    unheard = [replace(row, split=None) for row in speech if row.speaker == settings.held_out_speaker]
    divided = [*assign_splits(heard, seed=split_seed, by="source"), *unheard]
    sizes = {"train": settings.train, "dev": settings.dev, "test": settings.test, None: settings.held_out}
    controls = dict.fromkeys(nulls(settings), None)
    found: dict[str, list[Utterance]] = {}
    for name in [*settings.domains, *controls]:
        attack = attack_of(settings.domains[name]) if name in settings.domains else None
        languages = attack.languages() if isinstance(attack, TextToSpeech) else None
        found[name] = []
        for split, count in sizes.items():
            fit = [
                row
                for row in divided
                if row.split == split
                and (not isinstance(attack, TextToSpeech) or row.text)
                and (languages is None or (language_of(row) or "")[:2] in languages)
            ]
            found[name] += random.Random(f"{name} {split}").sample(fit, min(count, len(fit)))
    return found


def _forge(
    settings: Settings, chosen: Mapping[str, list[Utterance]], folder: Path, run: Run
) -> dict[str, Table]:
    """Per domain and control, its forged recordings and their bona fide twins."""
    real: dict[str, dict[str, Utterance]] = {}
    tables = {}
    for control, stage in nulls(settings).items():
        everyone = {
            row.source: row
            for name, rows in chosen.items()
            if name == control or (name in settings.domains and settings.domains[name].stage == stage)
            for row in rows
        }
        made = _simulate(make_attack("null"), stage, list(everyone.values()), folder / control, True, run)
        real[control] = {row.source: row for row in made if row.label == BONA_FIDE}
        forged = {row.source: row for row in made if row.label != BONA_FIDE}
        tables[control] = _paired(control, chosen[control], real[control], forged)
    for name, domain in settings.domains.items():
        run.progress.note(f"simulate {name}")
        made = _simulate(attack_of(domain), domain.stage, chosen[name], folder / name, False, run)
        control = f"{NULL_DOMAIN}{_stage_name(domain.stage)}"
        tables[name] = _paired(name, chosen[name], real[control], {row.source: row for row in made})
    return tables


def _simulate(
    attack: Attack,
    stage: dict[str, object],
    rows: list[Utterance],
    out: Path,
    bona_fide: bool,
    run: Run,
) -> Table:
    result = simulate(
        attack,
        Table(tuple(rows), "chosen speech"),
        out,
        conditions=[Finish.model_validate(stage)],
        run=run,
        bona_fide=bona_fide,
    )
    return read(result.manifest)


def _paired(
    name: str, chosen: list[Utterance], real: Mapping[str, Utterance], forged: Mapping[str, Utterance]
) -> Table:
    """A domain's rows; a recording that could not be forged is left out in both classes."""
    made = [
        (twin, row.split)
        for row in chosen
        if row.source in real and row.source in forged
        for twin in (real[row.source], forged[row.source])
    ]
    rows = [
        replace(item, split=split, attack=None if item.label == BONA_FIDE else name) for item, split in made
    ]
    return Table(tuple(rows), name)


def _learnable(table: Table, features: Features) -> DomainData:
    parts = {
        split: features.pick([at for at, row in enumerate(table) if row.split == split]) for split in SPLITS
    }
    return DomainData(table, parts["train"], parts["dev"], parts["dev"], (), ())


def _measured(
    tables: Mapping[str, Table], features: Mapping[str, Features], split: str | None, seconds: float
) -> Measured:
    place: dict[Path, int] = {}
    parts: list[Features] = []
    sets = {}
    for name, table in tables.items():
        rows = [at for at, row in enumerate(table) if row.split == split]
        fresh = [at for at in rows if table[at].path not in place]
        for at in fresh:
            place[table[at].path] = len(place)
        parts.append(features[name].pick(fresh))
        if rows:
            sets[name] = np.array([place[table[at].path] for at in rows])
    return Measured(concatenate(parts).cut(seconds), tuple(place), sets)


def _stage_name(stage: Mapping[str, object]) -> str:
    return "".join(f"_{value}" for _, value in sorted(stage.items()))
