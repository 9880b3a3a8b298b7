"""Other ways to compute a mixture, to measure ours against: a loop over experts, einsum, and three of PEFT's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import ArrowConfig, create_arrow_model
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from molex_adapt.mixture import ExpertLinear

TARGETS = ["feed_forward.intermediate_dense", "feed_forward.output_dense"]
RANK, ALPHA = 8, 16

Form = Callable[[ExpertLinear, Tensor], Tensor]


def loop_form(layer: ExpertLinear, x: Tensor) -> Tensor:
    """Every expert in turn, weighted by its gate; zero gates cost what others cost."""
    output: Tensor = layer.linear(x)
    if layer.routing is None:
        return output
    gates = (layer.routing.gates * layer.bank.scales).to(output.dtype)
    for at, (a, b) in enumerate(zip(layer.a, layer.b, strict=True)):
        output = output + gates[..., at, None] * F.linear(F.linear(x, a), b)
    return output


def einsum_form(layer: ExpertLinear, x: Tensor) -> Tensor:
    """All experts' outputs as one (tokens x experts x d_out) tensor, then their weighted sum."""
    output: Tensor = layer.linear(x)
    if layer.routing is None:
        return output
    gates = (layer.routing.gates * layer.bank.scales).to(output.dtype).expand(*x.shape[:2], -1)
    low = torch.einsum("bfd,erd->bfer", x, layer.bank.stacked_a)
    each = torch.einsum("bfer,ero->bfeo", low, layer.bank.stacked_b)
    return output + torch.einsum("bfeo,bfe->bfo", each, gates)


@contextmanager
def computed_by(form: Form) -> Iterator[None]:
    """All mixtures compute in another way for a while."""
    own = ExpertLinear.forward

    def forward(
        layer: ExpertLinear, x: Tensor
    ) -> Tensor:  # a form may be an object, which does not bind as methods do
        return form(layer, x)

    ExpertLinear.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        ExpertLinear.forward = own  # type: ignore[method-assign]


def peft_single(folder: Path) -> Any:
    """One adapter."""
    return get_peft_model(AutoModel.from_pretrained(folder), _config()).eval()


def peft_mixed(folder: Path, count: int) -> Any:
    """`count` adapters, one per utterance; call it with `adapter_names`."""
    model = get_peft_model(AutoModel.from_pretrained(folder), _config(), adapter_name="e0")
    for at in range(1, count):
        model.add_adapter(f"e{at}", _config())
    return model.eval()


def peft_arrow(folder: Path, count: int, work: Path) -> Any:
    """Routing by Arrow over `count` adapters, frame by frame, top 2."""
    adapter = work / f"adapter-{folder.name}"
    if not (adapter / "adapter_config.json").exists():
        get_peft_model(AutoModel.from_pretrained(folder), _config()).save_pretrained(adapter)
    return create_arrow_model(
        base_model=AutoModel.from_pretrained(folder),
        task_specific_adapter_paths=[os.fspath(adapter)] * count,
        arrow_config=ArrowConfig(top_k=2, rng_seed=0),
    ).eval()


def _config() -> LoraConfig:
    return LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, init_lora_weights=False)
