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
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile

from benchmarks.cost import interleaved, machine
from benchmarks.workbench import RESULTS
from molex_adapt.api import Registry
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Table, Utterance, decode
from molex_adapt.demo.domains import find_speech
from molex_adapt.features import score_table
from molex_adapt.prefix_cache import FOLDER

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
    result["batches_over_one_by_one"] = _mixed(speech, rounds)
    print(json.dumps(result))
    (RESULTS / "speed.json").write_text(json.dumps(result, indent=1) + "\n")


def _plain(table: Table) -> dict[str, Any]:
    """Seconds of audio per second, three times, and their median."""
    detector = Registry.open("registry").detector("cpu")
    audio = sum(item.seconds for item in score_table(detector, table, workers=2)[0])
    times = interleaved({"score": lambda: score_table(detector, table, workers=2)}, 3)["score"]
    return {"recordings": len(table), "times_real_time": audio / median(times)}


def _analysis(table: Table, rounds: int) -> float:
    """Time of `analyze` over that of `score`: the same files, decoded and computed anew each time."""
    registry = Registry.open("registry")
    return _ratio(lambda: registry.analyze(table), lambda: registry.score(table), rounds)


def _mixed(speech: tuple[Utterance, ...], rounds: int) -> float:
    """Speed on lengths from `SHORTEST` to `LONGEST` seconds, over that of one recording after the other."""
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
        return _ratio(
            lambda: [score_table(detector, one) for one in ones],
            lambda: score_table(detector, table, workers=2),
            rounds,
        )


def _ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> float:
    times = interleaved({"slow": slow, "fast": fast}, rounds)
    return median(a / b for a, b in zip(times["slow"], times["fast"], strict=True))


if __name__ == "__main__":
    main()
