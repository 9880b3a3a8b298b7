"""The wide-band base with the heads that train it.

Shapes: B batch, T samples, F frames of 20 ms, D width, L hidden states (blocks + 1), A attacks.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WavLMConfig, WavLMModel

from molex_adapt.attention import streamline_attention
from tools.wideband.spectra import load_half, save_half

TEACHER_WIDTH = 512
TEACHER_BLOCKS = (4, 6)
"""Blocks of the teacher that the base predicts, from its own states `WideBand.taught`."""


def wide_band_config(
    width: int = 256, blocks: int = 8, heads: int = 4, inner: int = 1024, channels: int = 160
) -> WavLMConfig:
    """A WavLM of 7.1 M weights by default, with the embedded base's stem."""
    return WavLMConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=inner,
        conv_dim=(channels,) * 6,
        conv_kernel=(20, 4, 4, 4, 4, 2),
        conv_stride=(10, 2, 2, 2, 2, 2),
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=64,
        num_conv_pos_embedding_groups=16,
        num_buckets=160,
        max_bucket_distance=400,
        mask_time_prob=0.065,
        mask_time_length=10,
        hidden_dropout=0.05,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
    )


class WideBand(nn.Module):
    """A WavLM, predictors of the teacher and of the mel spectrum, and a detector over all its hidden states."""

    def __init__(self, attacks: int, config: WavLMConfig | None = None) -> None:
        super().__init__()
        config = config or wide_band_config()
        width, states = config.hidden_size, config.num_hidden_layers + 1
        self.base = streamline_attention(WavLMModel(config))
        self.taught = (min(4, states - 1), states - 1)
        self.heard_at = min(3, states - 1)
        self.teacher = nn.ModuleList(nn.Linear(width, TEACHER_WIDTH) for _ in self.taught)
        self.mel = nn.Linear(width, 80)
        self.mix = nn.Parameter(torch.zeros(states))
        self.norm, self.narrow = nn.LayerNorm(width), nn.Linear(width, 128)
        self.attend = nn.Sequential(nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 1))
        self.score, self.kind = nn.Linear(256, 1), nn.Linear(256, attacks + 1)

    def frames(self, samples: int) -> int:
        """How many frames a wave of `samples` has."""
        return int(self.base._get_feat_extract_output_lengths(samples))

    def states(self, wave: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """L hidden states, each (B, F, D), of (B, T); `mask` (B, F) bool hides frames."""
        wave = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, keepdim=True) + 1e-7).sqrt()
        return self.base(wave, mask_time_indices=mask, output_hidden_states=True).hidden_states

    def detect(self, states: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(B,) logit, higher is more bona fide; (B, A + 1) logits of bona fide and each attack.

        Source: attentive statistics pooling, Okabe et al. 2018.
        """
        weights = torch.softmax(self.mix, 0)
        mixed = sum(w * F.layer_norm(h.float(), h.shape[-1:]) for w, h in zip(weights, states, strict=True))
        narrow = F.gelu(self.narrow(self.norm(mixed)))
        attention = torch.softmax(self.attend(narrow), 1)
        mean = (attention * narrow).sum(1)
        spread = ((attention * narrow.square()).sum(1) - mean.square()).clamp(min=1e-5).sqrt()
        pooled = torch.cat([mean, spread], 1)
        return self.score(pooled)[:, 0], self.kind(pooled)


def save_base(model: WideBand, folder: Path, name: str) -> None:
    """Write the base alone in float16 with its config, and base and heads in float32 to continue from."""
    folder.mkdir(parents=True, exist_ok=True)
    model.base.config.save_pretrained(folder)
    save_half(model.base, folder / f"base_{name}.safetensors")
    whole = {key: tensor.detach().contiguous().cpu() for key, tensor in model.state_dict().items()}
    save_file(whole, folder / f"whole_{name}.safetensors")


def load_base(folder: Path, name: str) -> WavLMModel:
    """The base alone, in float32, from `save_base`'s folder; every tensor must fit."""
    config = WavLMConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    base = streamline_attention(WavLMModel(config))
    load_half(base, folder / f"base_{name}.safetensors")
    return base.eval()


def load_start(model: WideBand, path: Path) -> bool:
    """Continue from a base or from base and heads; returns whether there were heads.

    The classifier of attacks begins anew in either case, as the attacks may differ.
    """
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    if not any(name.startswith("base.") for name in tensors):
        model.base.load_state_dict(tensors)
        return False
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("kind.")}
    fresh = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("kind.")}
    model.load_state_dict({**kept, **fresh})
    return True
