"""Whether `torch.compile` pays for the blocks of a mixture, and what it costs first.

    python -m benchmarks.compiled

Eight experts, utterance routing, one shape of batch; compiled and eager take turns. Writes results/compiled.json.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import torch

from benchmarks.cost import CLIPS, SECONDS, interleaved, machine, mixture_of, shape_folder
from benchmarks.workbench import RESULTS
from molex_adapt.base import load_base
from molex_adapt.conventions import SAMPLE_RATE, Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shapes", nargs="*", default=["embedded", "wavlm-base"])
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "rounds": options.rounds, "runs": {}}
    for shape in options.shapes:
        for precision in PRECISIONS:
            run = _run(shape, precision, options.rounds)
            result["runs"][f"{shape}, {precision}"] = run
            print(shape, precision, json.dumps(run), flush=True)
    (RESULTS / "compiled.json").write_text(json.dumps(result, indent=1) + "\n")


@torch.no_grad()
def _run(shape: str, precision: Precision, rounds: int) -> dict[str, float]:
    """Seconds until the first compiled batch, and compiled over eager afterwards."""
    base = load_base(shape_folder(shape))
    base.compute_in(precision)
    mixture = mixture_of(base, 8)
    mixture.attach()
    wave = torch.randn(CLIPS, SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    features, frames = base.prefix(wave, torch.full((CLIPS,), wave.shape[1]))
    torch.compiler.reset()
    compiled = torch.compile(mixture.hidden_states)
    started = time.perf_counter()
    compiled(features, frames)
    first = time.perf_counter() - started
    candidates = {
        "eager": lambda: mixture.hidden_states(features, frames),
        "compiled": lambda: compiled(features, frames),
    }
    times = interleaved(candidates, rounds)
    ratio = median(one / other for one, other in zip(times["compiled"], times["eager"], strict=True))
    return {
        "seconds_to_compile": first,
        "eager_seconds": median(times["eager"]),
        "compiled_over_eager": ratio,
    }


if __name__ == "__main__":
    main()
