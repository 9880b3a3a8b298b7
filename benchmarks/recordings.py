"""Recordings of the manifests that tools.wideband.domains wrote, and copies of them that are made once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from molex_adapt.atomic import replacing
from molex_adapt.conventions import SAMPLE_RATE, Seconds, Split
from molex_adapt.data import Table, Utterance, decode, read
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.simulate.conditions import read_condition


def manifest_of(folder: Path, name: str) -> Table:
    """Of an attack, or of real speech.

    Raises:
        DataError: it is missing.
    """
    path = folder / f"{name}.csv"
    if not path.exists():
        raise DataError(
            f"{path} is missing. Make it: python -m tools.wideband.domains SPEECH --out {folder} --attacks NAME... "
            "(tools/wideband/README.md)"
        )
    return read(path)


def of_split(rows: Iterable[Utterance], split: Split) -> list[Utterance]:
    """Those of one split."""
    return [row for row in rows if row.split == split]


def shortened(row: Utterance, seconds: Seconds, folder: Path) -> Utterance:
    """The first seconds of a recording, written below `folder` once."""
    path = folder / f"{_name(row, f'{seconds:g}')}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=False) as partial:
            soundfile.write(partial, decode(row.path, duration=seconds), SAMPLE_RATE, "PCM_16")
    return replace(row, path=path)


def under(row: Utterance, condition: str, folder: Path, seed: int) -> Utterance:
    """A recording under a condition, written below `folder` once; chance is its own."""
    path = folder / f"{_name(row, f'{condition} {seed}')}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chance = np.random.default_rng([seed, int(sha256(f"{row.source} {condition}")[:8], 16)])
        wave = read_condition(condition).apply(decode(row.path), chance)
        with replacing(path, durable=False) as partial:
            soundfile.write(partial, np.clip(wave, -1, 1), SAMPLE_RATE, "PCM_16", format="WAV")
    return replace(row, path=path, condition=condition)


def _name(row: Utterance, how: str) -> str:
    """Of a copy: a recording that was changed since has another."""
    about = row.path.stat()
    return sha256(f"{row.path.absolute()} {about.st_size} {about.st_mtime_ns} {how}")[:32]
