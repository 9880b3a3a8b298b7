"""AntiDeepfake as its authors compute it: modules named as fairseq names them, and what they compute, in plain torch.

Written from the equations, so that the names and the order of operations here owe nothing to the code under test.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
KERNEL = 16


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Cut(nn.Module):
    """An even kernel makes one position too many."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :-1]


class Convolutions(nn.Module):
    def __init__(self, width: int, layer_norm: bool, bias: bool) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        for at, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            parts = [nn.Conv1d(1 if at == 0 else width, width, kernel, stride, bias=bias), nn.Dropout(0.0)]
            if layer_norm:
                parts.append(nn.Sequential(Transposed(), nn.LayerNorm(width), Transposed()))
            elif at == 0:
                parts.append(nn.GroupNorm(width, width))
            self.conv_layers.append(nn.Sequential(*parts, nn.GELU()))

    def forward(self, wave: Tensor) -> Tensor:
        x = wave[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        query, key, value = (
            project(x).view(batch, frames, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (query @ key.mT * (width // self.heads) ** -0.5).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).reshape(batch, frames, width))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.self_attn(self.self_attn_layer_norm(x))
            return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        return self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, first: bool, layers: int) -> None:
        super().__init__()
        self.first = first
        convolution = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fairseq's own way of weight norm, with weight_g and weight_v
            convolution = nn.utils.weight_norm(convolution, dim=2)
        self.pos_conv = nn.Sequential(convolution, Cut(), nn.GELU())
        self.layers = nn.ModuleList(Layer(width, heads, 64, first) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_conv(x.mT).mT
        x = x if self.first else self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x) if self.first else x


class Model(nn.Module):
    """wav2vec 2.0, or HuBERT, with what only pretraining needs."""

    def __init__(self, width: int, heads: int, large: bool, bias: bool, hubert: bool, layers: int) -> None:
        super().__init__()
        self.mask_emb = nn.Parameter(torch.rand(width))
        self.feature_extractor = Convolutions(16, large, bias)
        self.post_extract_proj = nn.Linear(16, width)
        self.encoder = Encoder(width, heads, large, layers)
        self.layer_norm = nn.LayerNorm(16)
        self.final_proj = nn.Linear(width, 8)
        if hubert:
            self.label_embs_concat = nn.Parameter(torch.rand(5, 8))
        else:
            self.quantizer = nn.Module()
            self.quantizer.vars = nn.Parameter(torch.rand(1, 4, 4))
            self.quantizer.weight_proj = nn.Linear(16, 4)
            self.project_q = nn.Linear(8, 8)

    def forward(self, wave: Tensor) -> Tensor:
        return self.encoder(self.post_extract_proj(self.layer_norm(self.feature_extractor(wave).mT)))


class AntiDeepfake(nn.Module):
    """Logits of fake and real (B, 2) for waveforms of one length (B, T)."""

    def __init__(
        self,
        *,
        width: int = 32,
        heads: int = 2,
        large: bool = True,
        bias: bool = True,
        hubert: bool = False,
        layers: int = 2,
    ) -> None:
        super().__init__()
        self.m_ssl = nn.Module()
        self.m_ssl.model = Model(width, heads, large, bias, hubert, layers)
        self.adap_pool1d = nn.AdaptiveAvgPool1d(1)
        self.proj_fc = nn.Linear(width, 2)

    def forward(self, wave: Tensor) -> Tensor:
        normalised = torch.stack([F.layer_norm(row, row.shape) for row in wave])
        return self.proj_fc(self.adap_pool1d(self.m_ssl.model(normalised).mT)[..., 0])


def written(folder: Path, config: dict[str, Any] | None = None, **sizes: Any) -> AntiDeepfake:
    """A random detector, and its folder: weights, and a config.json of what they do not tell."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = AntiDeepfake(**sizes).eval()
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        model.proj_fc.weight.mul_(10)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return model
