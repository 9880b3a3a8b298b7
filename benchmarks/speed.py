"""How fast the shipped mixture scores: 1,000 recordings, decoded from files, over real time.

    python -m benchmarks.speed

Writes results/speed.json.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch

from benchmarks.workbench import RESULTS
from molex_adapt.api import Registry
from molex_adapt.data import Table
from molex_adapt.demo.domains import find_speech
from molex_adapt.features import score_table


def main() -> None:
    """Score, three times, and keep the median."""
    table = Table(find_speech(None).utterances[:1000], "speech")
    detector = Registry.open("registry").detector("cpu")
    runs = []
    for _ in range(3):
        started = time.monotonic()
        scored, failed = score_table(detector, table, workers=2)
        seconds = time.monotonic() - started
        audio = sum(item.seconds for item in scored)
        runs.append(audio / seconds)
        print(f"{len(scored)} recordings, {audio:.0f} s of audio: {runs[-1]:.0f}x, {len(failed)} failed")
    result = {
        "recordings": len(table),
        "times_real_time": sorted(runs)[1],
        "runs": runs,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
    Path(RESULTS).mkdir(exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
