"""How fast recordings are scored and analysed, from files to figures, with the shipped mixture.

    python -m benchmarks.speed

Three measures, their candidates in turns within every round: 1,000 recordings over real time; `analyze` over `score` on
the same files, nothing cached; recordings of 0.7 to 30 s in batches of like length over one recording after the other.
Writes results/speed.json.
"""

from __future__ import annotations

import argparse
import json
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

from benchmarks.cost import interleaved, machine
from benchmarks.workbench import RESULTS
from molex_adapt.api import Registry
from molex_adapt.cache import FOLDER
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Table, Utterance, decode
from molex_adapt.demo.domains import find_speech
from molex_adapt.detector import Detector
from molex_adapt.features import score_table

RECORDINGS, ANALYSED, MIXED = 1000, 300, 80
SHORTEST, LONGEST = 0.7, 30.0


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    os.environ[FOLDER] = "off"
    speech = find_speech(None).utterances
    result: dict[str, Any] = {"machine": machine(), "rounds": rounds}
    result |= _plain(Table(tuple(speech[:RECORDINGS]), "speech"))
    result["analyze_over_score"] = _analysis(Table(tuple(speech[:ANALYSED]), "speech"), rounds)
    result |= _mixed(speech, rounds)
    print(json.dumps(result))
    (RESULTS / "speed.json").write_text(json.dumps(result, indent=1) + "\n")


def _plain(table: Table) -> dict[str, Any]:
    """Seconds of audio per second, three times, and their median."""
    detector = Registry.open("registry").detector("cpu")
    audio = sum(item.seconds for item in score_table(detector, table)[0])
    times = interleaved({"score": lambda: score_table(detector, table)}, 3)["score"]
    return {"recordings": len(table), "times_real_time": audio / median(times)}


def _analysis(table: Table, rounds: int) -> float:
    """Time of `analyze` over that of `score`: the same files, decoded and computed anew each time."""
    registry = Registry.open("registry")
    return _ratio(lambda: registry.analyze(table), lambda: registry.score(table), rounds)


def _mixed(speech: tuple[Utterance, ...], rounds: int) -> dict[str, Any]:
    """Speed on mixed lengths over one recording after the other, and how much of both times is the model's own."""
    detector = Registry.open("registry").detector("cpu")
    generator = np.random.default_rng(0)
    seconds = np.exp(generator.uniform(np.log(SHORTEST), np.log(LONGEST), MIXED))
    long = np.concatenate([decode(item.path) for item in speech[:400]])
    with tempfile.TemporaryDirectory() as folder:
        items = []
        for number, length in enumerate(seconds):
            samples = int(length * SAMPLE_RATE)
            start = int(generator.integers(len(long) - samples))
            path = Path(folder) / f"{number}.wav"
            soundfile.write(path, long[start : start + samples], SAMPLE_RATE)
            items.append(Utterance(path=path, label="bonafide"))
        table = Table(tuple(items), "mixed lengths")
        ones = [Table((item,), "one") for item in items]
        ways: dict[str, Callable[[], object]] = {
            "one_by_one": lambda: [score_table(detector, one) for one in ones],
            "batches": lambda: score_table(detector, table),
        }
        times = interleaved(ways, rounds)
        with _timed(detector) as model:
            inside = {}
            for name, score in ways.items():
                model.clear()
                score()
                inside[name] = sum(model)
    pairs = zip(times["one_by_one"], times["batches"], strict=True)
    return {
        "batches_over_one_by_one": median(slow / fast for slow, fast in pairs),
        "mixed_seconds": {name: median(found) for name, found in times.items()},
        "mixed_seconds_in_model": inside,
    }


@contextmanager
def _timed(detector: Detector) -> Iterator[list[float]]:
    """Seconds of every call of the detector itself."""
    taken: list[float] = []
    score = detector.score

    def timed(wave: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        found = score(wave, lengths)
        taken.append(time.perf_counter() - started)
        return found

    detector.score = timed  # type: ignore[method-assign]
    try:
        yield taken
    finally:
        del detector.score


def _ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> float:
    times = interleaved({"slow": slow, "fast": fast}, rounds)
    return median(a / b for a, b in zip(times["slow"], times["fast"], strict=True))


if __name__ == "__main__":
    main()
