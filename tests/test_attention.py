from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel

from molex_adapt import attention
from molex_adapt.attention import streamline_attention


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("lengths", [(9_000, 9_000), (9_000, 4_000, 6_500)])
def test_same_function_and_same_gradients_as_transformers(tiny_folder_of, stable, lengths):
    folder = tiny_folder_of("wavlm", "layer", stable)
    plain, quick = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    assert streamline_attention(quick) is quick
    wave = torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    valid = torch.arange(27)[None] < plain._get_feat_extract_output_lengths(torch.tensor(lengths))[:, None]
    outputs = [model(wave, attention_mask=mask).last_hidden_state[valid] for model in (plain, quick)]
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=0)
    for output in outputs:
        output.square().mean().backward()
    gradients = [
        {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        for model in (plain, quick)
    ]
    assert gradients[0].keys() == gradients[1].keys()
    assert {
        "encoder.layers.1.attention.q_proj.weight",
        "encoder.layers.0.attention.rel_attn_embed.weight",
    } <= {name for name, value in gradients[0].items() if float(value.abs().max()) > 0}
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-3)


def test_only_this_instance_and_only_wavlm_are_changed(tiny_folder_of):
    changed = streamline_attention(AutoModel.from_pretrained(tiny_folder_of()))
    other = AutoModel.from_pretrained(tiny_folder_of())
    name = "torch_multi_head_self_attention"
    assert name in vars(changed.encoder.layers[0].attention)
    assert name not in vars(other.encoder.layers[0].attention)
    untouched = streamline_attention(AutoModel.from_pretrained(tiny_folder_of("hubert")))
    assert not any(name in vars(module) for module in untouched.modules())


@pytest.mark.parametrize("lengths", [(9_000, 9_000), (9_000, 4_000, 6_500)])
def test_in_bfloat16_a_cpu_is_as_exact_as_torch(tiny_folder_of, monkeypatch, lengths):
    """Both are compared with float32, outputs and gradients; the steps are what is computed."""
    wave = torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()

    def computed(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        model = streamline_attention(AutoModel.from_pretrained(tiny_folder_of())).eval()
        valid = (
            torch.arange(27)[None] < model._get_feat_extract_output_lengths(torch.tensor(lengths))[:, None]
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = model(wave, attention_mask=mask).last_hidden_state.float()[valid]
        output.square().mean().backward()
        return output.detach(), model.encoder.layers[0].attention.k_proj.weight.grad

    exact = computed(torch.float32)
    ours = computed(torch.bfloat16)
    monkeypatch.setattr(
        attention,
        "_attended_in_bfloat16",
        lambda query, key, value, bias, dropout: F.scaled_dot_product_attention(
            query, key, value, bias.to(query.dtype), dropout
        ),
    )
    torchs = computed(torch.bfloat16)
    for exactly, mine, theirs in zip(exact, ours, torchs, strict=True):
        assert not torch.equal(mine, theirs)
        assert (mine - exactly).abs().mean() < 1.2 * (theirs - exactly).abs().mean() + 1e-6


def test_in_bfloat16_attention_drops_out_as_asked():
    ones, bias = torch.ones(1, 2, 400, 8, dtype=torch.bfloat16), torch.zeros(1, 2, 400, 400)
    whole, half = (
        attention._attended_in_bfloat16(ones, ones, ones, bias, share).float() for share in (0.0, 0.5)
    )
    assert float(whole.std()) < 1e-3 < 0.01 < float(half.std())
    assert 0.9 < float(half.mean()) < 1.1
