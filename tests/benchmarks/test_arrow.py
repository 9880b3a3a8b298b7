"""Arrow, which routes one LoRA a domain, against the one of PEFT."""

from __future__ import annotations

import torch
from peft.tuners.lora import ArrowConfig
from peft.tuners.lora.arrow import ArrowLoraLinearLayer

from benchmarks.sequence.methods.separate import ArrowForm
from molex_adapt.mixture import ExpertLinear, ExpertSpec


def test_arrow_is_that_of_peft():
    generator = torch.Generator().manual_seed(0)
    layer = ExpertLinear(torch.nn.Linear(32, 64))
    names = ["task_0", "task_1", "task_2"]
    adapters = {
        name: (torch.nn.Linear(32, 4, bias=False), torch.nn.Linear(4, 64, bias=False)) for name in names
    }
    for name, (a, b) in adapters.items():
        # Singular values far apart: PEFT finds the largest by 15 steps of power iteration.
        spread = torch.tensor([9.0, 1.0, 0.5, 0.1])[:, None]
        basis = torch.linalg.qr(torch.randn(32, 4, generator=generator))[0].T
        a.weight.data = spread * basis
        b.weight.data = torch.linalg.qr(torch.randn(64, 4, generator=generator))[0]
        layer.extend([ExpertSpec(name, 4, 8)], [(a.weight.detach(), b.weight.detach())])
    config = ArrowConfig(top_k=2, rng_seed=0)
    config.task_adapter_names, config.gks_adapter_names = list(names), []
    arrow = ArrowLoraLinearLayer(32, config)
    lora_a = torch.nn.ModuleDict({name: pair[0] for name, pair in adapters.items()})
    lora_b = torch.nn.ModuleDict({name: pair[1] for name, pair in adapters.items()})
    arrow.build_prototypes(lora_a, lora_b)
    x = torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        theirs = arrow(x, lora_a, lora_b, torch.nn.Identity(), dict.fromkeys(names, 2.0))
        ours = ArrowForm(top_k=2)(layer, x) - layer.linear(x)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ArrowForm(top_k=1)(layer, x) - layer.linear(x), theirs, atol=1e-2)
