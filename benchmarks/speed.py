"""How fast recordings are scored and analysed, from files to figures, with the shipped mixture; nothing is cached.

Cells: `score`, against real time and the frozen base's own forward over the same audio; `analyze`, against `score` on
the same files; `mixed`, recordings of many lengths in batches of like length, against one recording after the other.
Each with a number of recordings.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import Candidate, in_turns
from molex_adapt.api import Registry
from molex_adapt.cache import FOLDER
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.data import Table, Utterance, decode
from molex_adapt.demo.domains import find_speech
from molex_adapt.detector import Detector
from molex_adapt.features import pad, score_table, window_batches
from molex_adapt.recipe import Options
from molex_adapt.run import Run

Speech = tuple[Utterance, ...]


class Settings(Options):
    """How it is measured; mixed lengths lie evenly, on a logarithmic scale, between `shortest` and `longest`."""

    rounds: int = 7
    workers: int = 2
    shortest: Seconds = 0.7
    longest: Seconds = 30.0


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Every cell by itself, its candidates in turns."""
    os.environ[FOLDER] = "off"
    settings, speech = plan.settings_as(Settings), find_speech(None).utterances
    for cell in cells:
        yield cell, MEASURES[cell.method](speech, int(cell.arguments[0]), settings)


def _plain(speech: Speech, count: int, settings: Settings) -> dict[str, Any]:
    """Seconds of audio per second, and the time over that of the base alone on waveforms that are there already."""
    detector, table = Registry.open("registry").detector(), Table(speech[:count], "speech")
    run = Run(workers=settings.workers)
    audio = sum(item.seconds for item in score_table(detector, table, run)[0])
    rows = [[row for _, row in batch] for batch in window_batches(detector, list(table), run, [], False)]
    batches = [pad(batch) for batch in rows]

    def base() -> None:
        with torch.no_grad(), detector.mixture.silenced():
            for wave, lengths in batches:
                detector.base.hidden_states(*detector.base.prefix(wave, lengths))

    times = in_turns({"score": lambda: score_table(detector, table, run), "base": base}, 3)
    return {
        "times_real_time": audio / median(times["score"]),
        "over_base": median(ours / own for ours, own in zip(times["score"], times["base"], strict=True)),
    }


def _analysis(speech: Speech, count: int, settings: Settings) -> dict[str, Any]:
    """Time of `analyze` over that of `score`: the same files, decoded and computed anew each time."""
    registry, table = Registry.open("registry"), Table(speech[:count], "speech")
    ways = {"analyze": lambda: registry.analyze(table), "score": lambda: registry.score(table)}
    times = in_turns(ways, settings.rounds)
    return {"over_score": median(a / b for a, b in zip(times["analyze"], times["score"], strict=True))}


def _mixed(speech: Speech, count: int, settings: Settings) -> dict[str, Any]:
    """Speed on mixed lengths over one recording after the other, and how much of both times is the model's own."""
    detector = Registry.open("registry").detector()
    with tempfile.TemporaryDirectory() as folder:
        items = _of_many_lengths(speech, count, settings, Path(folder))
        table = Table(tuple(items), "mixed lengths")
        ones = [Table((item,), "one") for item in items]
        ways: dict[str, Candidate] = {
            "one_by_one": lambda: [score_table(detector, one) for one in ones],
            "batches": lambda: score_table(detector, table, Run(workers=settings.workers)),
        }
        times = in_turns(ways, settings.rounds)
        with _timed(detector) as model:
            inside = {}
            for name, score in ways.items():
                model.clear()
                score()
                inside[name] = sum(model)
    pairs = zip(times["one_by_one"], times["batches"], strict=True)
    return {
        "batches_over_one_by_one": median(slow / fast for slow, fast in pairs),
        "seconds": {name: median(found) for name, found in times.items()},
        "seconds_in_model": inside,
    }


def _of_many_lengths(speech: Speech, count: int, settings: Settings, folder: Path) -> list[Utterance]:
    generator = np.random.default_rng(0)
    seconds = np.exp(generator.uniform(np.log(settings.shortest), np.log(settings.longest), count))
    long = np.concatenate([decode(item.path) for item in speech[:400]])
    items = []
    for number, length in enumerate(seconds):
        samples = int(length * SAMPLE_RATE)
        start = int(generator.integers(len(long) - samples))
        path = folder / f"{number}.wav"
        soundfile.write(path, long[start : start + samples], SAMPLE_RATE)
        items.append(Utterance(path=path, label="bonafide"))
    return items


@contextmanager
def _timed(detector: Detector) -> Iterator[list[float]]:
    """Seconds of every call of the detector itself."""
    taken: list[float] = []
    score = detector.score_and_shares

    def timed(wave: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        started = time.perf_counter()
        found = score(wave, lengths)
        taken.append(time.perf_counter() - started)
        return found

    detector.score_and_shares = timed  # type: ignore[method-assign]
    try:
        yield taken
    finally:
        del detector.score_and_shares


MEASURES: dict[str, Callable[[Speech, int, Settings], dict[str, Any]]] = {
    "score": _plain,
    "analyze": _analysis,
    "mixed": _mixed,
}
