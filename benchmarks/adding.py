"""How long adding an expert takes, everything included: a process from its start to its exit, with an empty cache.

A cell is an attack that is made of real recordings, and how many of them. All are cut to the same length. What stands
behind a plus is an option of the command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.plan import Cell, Plan
from molex_adapt.cache import FOLDER
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.data import Table, Utterance, decode
from molex_adapt.data.manifest import write_manifest
from molex_adapt.demo.domains import find_speech
from molex_adapt.recipe import Options
from molex_adapt.simulate import make_attack
from molex_adapt.simulate.attack import CopySynthesis

SHIPPED = Path("registry")


class Settings(Options):
    """How it is measured; `seconds` of every recording."""

    rounds: int = 3
    seconds: Seconds = 3.0


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The round that takes the median time, and the times of all."""
    settings = plan.settings_as(Settings)
    for cell in cells:
        attack, _, option = cell.method.partition("+")
        options = [f"--{option}"] if option else []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            manifest = recordings(attack, int(cell.arguments[0]), settings.seconds, folder)
            rounds = sorted(
                (added(attack, manifest, folder, options) for _ in range(settings.rounds)),
                key=lambda found: found["seconds"],
            )
            middle = rounds[len(rounds) // 2]
            yield cell, middle | {"rounds": [found["seconds"] for found in rounds]}


def recordings(attack: str, count: int, seconds: Seconds, folder: Path) -> Path:
    """A manifest of real recordings and their copies by an attack; recordings that are shorter are left out.

    Raises:
        ValueError: there are too few.
    """
    items = list(find_speech(None))
    make, generator = make_attack(attack, {}), np.random.default_rng(0)
    assert isinstance(make, CopySynthesis)
    rows: list[Utterance] = []
    for number in generator.permutation(len(items)):
        if len(rows) == 2 * count:
            break
        item = items[number]
        wave = decode(item.path, duration=seconds)
        if len(wave) < seconds * SAMPLE_RATE:
            continue
        real, forged = (folder / f"{number}-{kind}.wav" for kind in ("real", "forged"))
        soundfile.write(real, wave, SAMPLE_RATE)
        soundfile.write(forged, make.apply(wave, generator), SAMPLE_RATE)
        rows.append(Utterance(real, "bonafide", source=str(number), speaker=item.speaker))
        rows.append(Utterance(forged, "spoof", attack, source=str(number), speaker=item.speaker))
    if len(rows) < 2 * count:
        raise ValueError(f"{len(rows) // 2} recordings of {seconds:g} s were found, {count} are needed")
    write_manifest(Table(tuple(rows), attack), folder / "all.csv")
    return folder / "all.csv"


def added(attack: str, manifest: Path, folder: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """What the command took and came to with these options, on a copy of the shipped registry."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        registry = shutil.copytree(SHIPPED, Path(own) / "registry")
        command = ["add-expert", "--domain", attack, str(manifest), "--registry", str(registry)]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "molex_adapt", *command, *options, "--json", "--quiet"],
            check=False,  # a generation that is refused ends in 1
            env=os.environ | {FOLDER: str(Path(own) / "cache")},
            capture_output=True,
            text=True,
        )
        taken = time.monotonic() - started
    if not done.stdout:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    return {
        "seconds": taken,
        "parts": said["seconds"],
        "steps": {stage: how["steps"] for stage, how in said["training"].items()},
        "eer": [said[when][attack]["eer"] for when in ("before", "after")],
        "withdrawn": said["withdrawn"],
        "activated": said["activated"],
    }
