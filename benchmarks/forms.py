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
from molex_adapt.recipe import LoraOptions

LORA = LoraOptions()
"""What recipes say where they say nothing."""

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

    # A form may be an object, which does not bind as methods do.
    def forward(self: ExpertLinear, x: Tensor) -> Tensor:
        return form(self, x)

    ExpertLinear.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        ExpertLinear.forward = own  # type: ignore[method-assign]


def peft_single(folder: Path, lora: LoraOptions) -> Any:
    """One adapter."""
    return get_peft_model(AutoModel.from_pretrained(folder), lora_config(lora)).eval()


def peft_mixed(folder: Path, lora: LoraOptions, count: int) -> Any:
    """`count` adapters, one per utterance; call it with `adapter_names`."""
    model = get_peft_model(AutoModel.from_pretrained(folder), lora_config(lora), adapter_name="e0")
    for at in range(1, count):
        model.add_adapter(f"e{at}", lora_config(lora))
    return model.eval()


def peft_arrow(folder: Path, lora: LoraOptions, count: int, top_k: int, work: Path) -> Any:
    """Routing by Arrow over `count` adapters, frame by frame, to the `top_k` best."""
    adapter = work / f"adapter-{folder.name}-{lora.rank}"
    if not (adapter / "adapter_config.json").exists():
        model = get_peft_model(AutoModel.from_pretrained(folder), lora_config(lora))
        model.save_pretrained(os.fspath(adapter))
    return create_arrow_model(
        base_model=AutoModel.from_pretrained(folder),
        task_specific_adapter_paths=[os.fspath(adapter)] * count,
        arrow_config=ArrowConfig(top_k=top_k, rng_seed=0),
    ).eval()


def lora_config(lora: LoraOptions, random: bool = True) -> LoraConfig:
    """PEFT's words for the same LoRA; B is `random`, so that nothing is skipped as zero, or else starts at zero."""
    options: dict[str, Any] = {"r": lora.rank, "lora_alpha": lora.alpha, "target_modules": list(lora.targets)}
    return LoraConfig(**options, init_lora_weights=not random)
