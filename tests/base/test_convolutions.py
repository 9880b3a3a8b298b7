"""Products of matrices against the convolutions of transformers."""

from __future__ import annotations

import pytest
import torch
from transformers import HubertConfig, WavLMConfig
from transformers.models.hubert.modeling_hubert import HubertFeatureEncoder
from transformers.models.wavlm.modeling_wavlm import WavLMFeatureEncoder

from molex_adapt.base.convolutions import Convolutions

SHAPES = {
    "as WavLM-Large": ((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)),
    "as the embedded base": ((20, 4, 4, 4, 4, 2), (10, 2, 2, 2, 2, 2)),
    "two taps beyond the strides": ((11, 5), (3, 3)),
    "gaps between kernels": ((4, 2), (4, 3)),
    "every frame": ((3, 1), (1, 1)),
}


def encoder(kernels: tuple[int, ...], strides: tuple[int, ...], norm: str = "layer", bias: bool = True):
    config = WavLMConfig(
        conv_dim=tuple(range(8, 8 + len(kernels))),
        conv_kernel=kernels,
        conv_stride=strides,
        num_feat_extract_layers=len(kernels),
        conv_bias=bias,
        feat_extract_norm=norm,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WavLMFeatureEncoder(config).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernels", "strides"), SHAPES.values(), ids=SHAPES)
@torch.no_grad()
def test_they_are_the_convolutions(kernels, strides, bias):
    theirs = encoder(kernels, strides, bias=bias)
    ours = Convolutions(theirs.conv_layers)
    shortest = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        shortest = (shortest - 1) * stride + kernel
    for batch, samples in ((1, shortest), (3, shortest + 1), (2, 3 * shortest + 7), (2, 2011)):
        wave = torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
        assert ours.serves(wave)
        expected = theirs(wave).transpose(1, 2)
        torch.testing.assert_close(ours(wave), expected, atol=1e-5, rtol=0)
        padded = torch.cat([wave, torch.randn(batch, 50)], dim=1)[:, :samples]  # not contiguous
        torch.testing.assert_close(ours(padded), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_other_weights_are_seen():
    theirs = encoder((10, 3), (5, 2))
    ours, wave = Convolutions(theirs.conv_layers), torch.randn(2, 400)
    before = ours(wave)
    theirs.conv_layers[1].conv.weight.mul_(2)
    assert not torch.allclose(ours(wave), before, atol=1e-3)
    theirs.load_state_dict(
        {name: value.clone() for name, value in encoder((10, 3), (5, 2)).state_dict().items()}
    )
    torch.testing.assert_close(ours(wave), before)


def test_what_they_do_not_serve(monkeypatch):
    layers = encoder((10, 3), (5, 2)).conv_layers
    ours, wave = Convolutions(layers), torch.randn(1, 400)
    assert not ours.serves(wave)  # gradients may be asked for
    with torch.no_grad():
        assert ours.serves(wave)
        assert not ours.serves(wave.double()) and not ours.serves(wave.to("meta"))
        assert not Convolutions(encoder((10, 3), (5, 2)).half().conv_layers).serves(wave)
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        assert not ours.serves(wave)


def test_layers_of_another_form():
    assert Convolutions.can_be(encoder((10, 3), (5, 2)).conv_layers)
    assert not Convolutions.can_be(encoder((10, 3), (5, 2), norm="group").conv_layers)
    assert not Convolutions.can_be(HubertFeatureEncoder(HubertConfig()).conv_layers)
    for name, value in (("padding", (1,)), ("dilation", (2,)), ("groups", 2)):
        layers = encoder((10, 3), (5, 2)).conv_layers
        setattr(layers[1].conv, name, value)
        assert not Convolutions.can_be(layers)


@torch.no_grad()
def test_bases_with_layer_norms_are_heard_by_them(monkeypatch, tiny_base_folder):
    from molex_adapt.base import load_base

    base, wave = load_base(tiny_base_folder), torch.randn(2, 4000)
    heard = []
    monkeypatch.setattr(Convolutions, "__call__", lambda self, wave: heard.append(len(wave)) or wave)
    base.whole(wave)
    assert heard == [2]
