"""What the mixture costs: scoring over the frozen base, whatever the number of experts, and what others cost.

In every round each candidate scores the same clips once, and is compared with the frozen base of the same round.
A cell is a shape of base and a precision; `peers` names the cells in which others take part.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from pydantic import Field

from benchmarks.forms import Form, computed_by, einsum_form, loop_form, peft_arrow, peft_mixed, peft_single
from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK, Candidate, in_turns, shape_folder
from molex_adapt.base import Base, load_base
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.recipe import Options, Recipe, RouterOptions

MIXED = 8
"""Adapters in one batch of PEFT's."""


class Settings(Options):
    """How it is measured; clips are of `seconds`, looped over and einsummed are so many experts."""

    rounds: int = 7
    clips: int = 4
    seconds: int = 4
    experts: tuple[int, ...] = (8, 64, 256)
    loop: tuple[int, ...] = (8, 64)
    einsum: tuple[int, ...] = (8,)
    arrow: tuple[int, ...] = (8, 32)
    peers: tuple[str, ...] = Field(())


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Seconds of the frozen base, and every candidate's time over it."""
    settings, recipe = plan.settings_as(Settings), plan.resolved("")
    for cell in cells:
        yield cell, _scoring(cell, settings, recipe)


@torch.no_grad()
def _scoring(cell: Cell, settings: Settings, recipe: Recipe) -> dict[str, Any]:
    folder = shape_folder(cell.method)
    base = load_base(folder)
    base.compute_in("bf16" if "bf16" in cell.arguments else "fp32")
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(settings.clips, settings.seconds * SAMPLE_RATE, generator=generator)
    peers = cell.name in settings.peers
    candidates: dict[str, Candidate] = {"frozen base": lambda: _score(base, None, wave)}
    for count in settings.experts:
        mixture = mixture_of(base, count, recipe)
        for routing in ("utterance", "frame"):
            candidates[f"{count} experts, {routing}"] = _routed(base, mixture, routing, wave)
        for name, form, counts in (
            ("loop", loop_form, settings.loop),
            ("einsum", einsum_form, settings.einsum),
        ):
            if peers and count in counts:
                candidates[f"{name}, {count} experts"] = _in_form(base, mixture, form, wave)
    if peers:
        single, mixed = peft_single(folder, recipe.lora), peft_mixed(folder, recipe.lora, MIXED)
        names = [f"e{at % MIXED}" for at in range(settings.clips)]
        candidates["PEFT, one adapter"] = lambda: single(wave)
        candidates[f"PEFT, {MIXED} adapters in one batch"] = lambda: mixed(wave, adapter_names=names)
        for count in settings.arrow:
            arrow = peft_arrow(folder, recipe.lora, count, recipe.router.top_k, WORK)
            candidates[f"PEFT Arrow, {count} experts"] = lambda arrow=arrow: arrow(wave)  # type: ignore[misc]
    times = in_turns(candidates, settings.rounds)
    frozen = times.pop("frozen base")
    return {
        "frozen_base_seconds": median(frozen),
        "over_frozen": {
            name: median(own / alone for own, alone in zip(found, frozen, strict=True))
            for name, found in times.items()
        },
    }


def mixture_of(base: Base, count: int, recipe: Recipe) -> Mixture:
    """`count` random experts, detached."""
    lora = recipe.lora
    mixture = Mixture(base, lora, recipe.router)
    generator = torch.Generator().manual_seed(0)
    experts = []
    for number in range(count):
        weights = {}
        for path, layer in mixture.placed.items():
            a, b = layer.fresh(ExpertSpec("", lora.rank, lora.alpha), generator)
            weights[f"{path}.lora_A"], weights[f"{path}.lora_B"] = a, b
        experts.append((ExpertSpec(f"e{number}", lora.rank, lora.alpha), weights))
    rows = [[torch.randn(base.width + 1, generator=generator) for _ in base.blocks] for _ in experts]
    mixture.extend(experts, rows)
    return mixture.requires_grad_(False).eval()


def _routed(base: Base, mixture: Mixture, routing: str, wave: torch.Tensor) -> Candidate:
    options = RouterOptions.model_validate(mixture.routers[0].options.model_dump() | {"routing": routing})

    def score() -> None:
        for router in mixture.routers:
            router.options = options
        _score(base, mixture, wave)

    return score


def _in_form(base: Base, mixture: Mixture, form: Form, wave: torch.Tensor) -> Candidate:
    routed = _routed(base, mixture, "utterance", wave)

    def score() -> None:
        with computed_by(form):
            routed()

    return score


def _score(base: Base, mixture: Mixture | None, wave: torch.Tensor) -> None:
    features, frames = base.prefix(wave, torch.full((len(wave),), wave.shape[1]))
    if mixture is None:
        base.hidden_states(features, frames)
        return
    mixture.attach()
    try:
        mixture.hidden_states(features, frames)
    finally:
        mixture.detach()
