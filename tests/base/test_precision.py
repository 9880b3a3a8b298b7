from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from molex_adapt.base import load_base
from molex_adapt.base.precision import compute_dtype, round_products
from molex_adapt.errors import ExpertError
from tests.families import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_and_leaves_float32(tiny_folder_of, kind):
    exact, fast = (load_base(tiny_folder_of(kind)) for _ in range(2))
    fast.compute_in("bf16")
    wave = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([8_000, 6_000])
    found = []
    for base in (exact, fast):
        features, frames = base.prefix(wave, lengths)
        with torch.no_grad():
            found.append([features, *base.hidden_states(features, frames)])
    exact_ones = (
        2 if kind == "whisper" else 1
    )  # in Whisper no product lies between the prefix and the first block
    for _ in range(exact_ones):
        assert torch.equal(found[0].pop(0), found[1].pop(0))
    for one, other in zip(*found, strict=True):
        assert other.dtype == torch.float32
        count = int(frames[1])
        distance = (one[1, :count] - other[1, :count]).abs().max() / one[1, :count].abs().max()
        assert 0 < float(distance) < 0.05


def test_what_was_rounded_cannot_be_exact_again(tiny_folder_of):
    base = load_base(tiny_folder_of())
    base.compute_in("fp32")
    base.compute_in("bf16")
    base.compute_in("bf16")
    with pytest.raises(ExpertError, match="rounded to bfloat16 already; load it again"):
        base.compute_in("fp32")


def test_the_choice_is_the_users_and_else_the_machines(monkeypatch):
    cpu = torch.device("cpu")
    assert compute_dtype("fp32", cpu) == torch.float32
    assert compute_dtype("bf16", cpu) == torch.bfloat16
    for amx, bf16, processor, dtype in (
        (True, False, {"cpu_name": "Intel(R) Xeon(R) Processor"}, torch.bfloat16),
        (False, True, {"cpu_name": "AMD EPYC"}, torch.bfloat16),
        (False, False, {"cpu_name": "AMD EPYC"}, torch.float32),
        (False, True, {"cpu_name": "Intel(R) Xeon(R) Processor"}, torch.float32),
        (False, True, {}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda bf16=bf16: bf16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda processor=processor: processor)
        assert compute_dtype("auto", cpu) == dtype
    assert compute_dtype("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize("weight_norm", [False, True])
def test_narrow_convolutions_are_exact_on_a_processor_and_in_copies(weight_norm):
    # With AMX, oneDNN returns noise for 8 channels a group and a kernel of 16; 16 channels are computed well.
    narrow, wide = nn.Conv1d(32, 32, 16, groups=4), nn.Conv1d(32, 32, 16, groups=2)
    if weight_norm:
        narrow, wide = (nn.utils.parametrizations.weight_norm(layer, dim=2) for layer in (narrow, wide))
    model = nn.ModuleList([narrow, wide]).requires_grad_(False)
    wave = torch.randn(2, 32, 40)
    exact = [layer(wave) for layer in model]
    round_products(model, torch.bfloat16, torch.device("cpu"))
    for layers in (model, copy.deepcopy(model)):
        with torch.autocast("cpu", torch.bfloat16):
            found = [layer(wave) for layer in layers]
        assert torch.equal(found[0], exact[0])
        assert 0 < float((found[1] - exact[1]).abs().max()) < 0.05
    twin = copy.deepcopy(model)
    twin[0].bias.add_(9)  # a copy computes with its own weights
    assert torch.equal(narrow(wave), exact[0])
    assert torch.allclose(twin[0](wave), exact[0] + 9, atol=1e-4)
