"""With frame routing: from how many experts on picking each frame's rows beats one product over all experts.

One adapted layer; both forms take turns. `CONCATENATE_UP_TO` in molex_adapt/mixture/experts.py is chosen from these
figures. A cell is a shape of base, and a type that it computes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import Candidate, in_turns
from molex_adapt.mixture import experts
from molex_adapt.mixture.experts import ExpertLinear, ExpertSpec
from molex_adapt.mixture.routers import Routing
from molex_adapt.recipe import LoraOptions, Options

LAYERS = {"embedded": (256, 1024), "wavlm-base": (768, 3072), "wavlm-large": (1024, 4096)}
FORMS = {"all at once": 10**6, "rows picked": 0}


class Settings(Options):
    """How it is measured: `clips` of `frames`, and so many experts for each one that is chosen."""

    rounds: int = 21
    clips: int = 4
    frames: int = 199
    per_choice: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Time of picking rows over that of one product, by the number of experts per chosen one."""
    settings, recipe = plan.settings_as(Settings), plan.resolved("")
    for cell in cells:
        yield (
            cell,
            {
                str(each): _ratio(cell, each, recipe.lora, recipe.router.top_k, settings)
                for each in settings.per_choice
            },
        )


@torch.no_grad()
def _ratio(cell: Cell, each: int, lora: LoraOptions, k: int, settings: Settings) -> float:
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if "bf16" in cell.arguments else torch.float32
    (inputs, outputs), count = LAYERS[cell.method], each * k
    layer = ExpertLinear(nn.Linear(inputs, outputs).to(dtype))
    spec = ExpertSpec("", lora.rank, lora.alpha)
    layer.extend([spec] * count, [layer.fresh(spec, generator) for _ in range(count)])
    logits = torch.randn(settings.clips, settings.frames, count, generator=generator)
    values, chosen = logits.topk(k, dim=-1)
    layer.routing = Routing(chosen, values.softmax(-1), logits)
    x = torch.randn(settings.clips, settings.frames, inputs, generator=generator).to(dtype)
    times = in_turns({name: _forward(layer, x, limit) for name, limit in FORMS.items()}, settings.rounds)
    pairs = zip(times["rows picked"], times["all at once"], strict=True)
    return median(picked / whole for picked, whole in pairs)


def _forward(layer: ExpertLinear, x: Tensor, limit: int) -> Candidate:
    def run() -> Tensor:
        with patch.dict(experts.CONCATENATE_UP_TO, {(x.device.type, x.dtype): limit}):
            return layer(x)  # type: ignore[no-any-return]

    return run
