"""With frame routing: from how many experts picking each frame's rows beats one product over all experts.

    python -m benchmarks.crossover

One adapted layer, 4 clips of 4 s, k = 1 and 2; both forms take turns. `CONCATENATE_UP_TO` in
molex_adapt/mixture/experts.py is chosen from these figures. Writes results/crossover.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.cost import interleaved, machine
from benchmarks.forms import ALPHA, RANK
from benchmarks.workbench import RESULTS
from molex_adapt.mixture import experts
from molex_adapt.mixture.experts import ExpertLinear, ExpertSpec
from molex_adapt.mixture.routers import Routing

SHAPES = {"embedded": (256, 1024), "wavlm-base": (768, 3072), "wavlm-large": (1024, 4096)}
FORMS = {"all at once": 10**6, "rows picked": 0}
CLIPS, FRAMES = 4, 199
PER_CHOICE = (1, 2, 3, 4, 6, 8, 12, 16)
"""Experts per chosen expert."""


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    ratios: dict[str, dict[str, float]] = {}
    for shape, (inputs, outputs) in SHAPES.items():
        for dtype in (torch.float32, torch.bfloat16):
            for k in (1, 2):
                name = f"{shape}, {str(dtype).removeprefix('torch.')}, k = {k}"
                ratios[name] = {
                    str(each): _ratio(inputs, outputs, dtype, k, each * k, rounds) for each in PER_CHOICE
                }
                print(name, json.dumps(ratios[name]), flush=True)
    result: dict[str, Any] = {"machine": machine(), "rounds": rounds, "picked_over_all_at_once": ratios}
    (RESULTS / "crossover.json").write_text(json.dumps(result, indent=1) + "\n")


@torch.no_grad()
def _ratio(inputs: int, outputs: int, dtype: torch.dtype, k: int, count: int, rounds: int) -> float:
    """Median time of picking rows over that of one product."""
    generator = torch.Generator().manual_seed(0)
    layer = ExpertLinear(nn.Linear(inputs, outputs).to(dtype))
    spec = ExpertSpec("", RANK, ALPHA)
    layer.extend([spec] * count, [layer.fresh(spec, generator) for _ in range(count)])
    logits = torch.randn(CLIPS, FRAMES, count, generator=generator)
    values, chosen = logits.topk(k, dim=-1)
    layer.routing = Routing(chosen, values.softmax(-1), logits)
    x = torch.randn(CLIPS, FRAMES, inputs, generator=generator).to(dtype)
    times = interleaved({name: _forward(layer, x, limit) for name, limit in FORMS.items()}, rounds)
    picked, whole = times["rows picked"], times["all at once"]
    return median(one / other for one, other in zip(picked, whole, strict=True))


def _forward(layer: ExpertLinear, x: Tensor, limit: int) -> Callable[[], object]:
    def run() -> Tensor:
        with patch.dict(experts.CONCATENATE_UP_TO, {x.dtype: limit}):
            return layer(x)  # type: ignore[no-any-return]

    return run


if __name__ == "__main__":
    main()
