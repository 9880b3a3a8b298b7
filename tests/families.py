"""A tiny random model of every family of bases, and how transformers itself hears a waveform with it.

A family that joins is listed here once; every test of bases that is the same for all of them takes its kinds from here.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    SeamlessM4TFeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.modeling_outputs import BaseModelOutput

from molex_adapt.base.families import FAMILIES

_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4}
_WAV2VEC2 = _BLOCKS | _CONVOLUTIONS | {"num_conv_pos_embeddings": 16}
_WHISPER: dict[str, Any] = {"d_model": 16, "num_mel_bins": 8, "max_source_positions": 100, "vocab_size": 8}
_WHISPER |= {f"{token}_token_id": 0 for token in ("pad", "bos", "eos", "decoder_start")}
_WHISPER |= {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("attention_heads", "layers")}
_WHISPER |= {f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")}

SIZES: dict[str, dict[str, Any]] = {
    "wavlm": _WAV2VEC2,
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
    "mms": _WAV2VEC2 | {"adapter_attn_dim": 4},
    "data2vec-audio": _BLOCKS | _CONVOLUTIONS | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7},
    "wav2vec2-bert": _BLOCKS
    | {"feature_projection_input_dim": 16, "conv_depthwise_kernel_size": 5}
    | {"left_max_position_embeddings": 6, "right_max_position_embeddings": 3},
    "whisper": _WHISPER,
}
"""What the configuration of each kind states. Blocks are 32 wide and the prefix 16; Whisper's blocks are 16 wide."""

KINDS = tuple(SIZES)
ONE_OF_EACH = tuple(family.kinds[0] for family in FAMILIES)
"""A kind of every family, for what the kinds of one share."""

ATTENTION = {kind: ("attention.q_proj", "attention.out_proj") for kind in SIZES if "conv_dim" in SIZES[kind]}
ATTENTION |= {"wav2vec2-bert": ("self_attn.linear_q", "self_attn.linear_out", "ffn2.output_dense")}
ATTENTION |= {"whisper": ("self_attn.k_proj", "self_attn.out_proj", "fc2")}
del ATTENTION["wavlm"]  # whose projections are not called as layers
"""Living targets that are not those of the feed-forward alone."""

_BOTH = [(norm, stable) for norm in ("layer", "group") for stable in (True, False)]
VARIANTS = [(kind, *both) for kind in ("wavlm", "wav2vec2", "hubert") for both in _BOTH]
VARIANTS += [("unispeech-sat", "layer", True), ("unispeech-sat", "group", False), ("mms", "layer", True)]
VARIANTS += [
    ("data2vec-audio", "layer", False),
    ("wav2vec2-bert", "layer", False),
    ("whisper", "layer", True),
]
"""Every kind with the norms that it comes with: in the feature extractor, and whether one follows the last block."""


def config_of(kind: str, norm: str, stable: bool) -> PreTrainedConfig:
    """A configuration of the tiny sizes; the two norms where the kind has a choice."""
    name = "wav2vec2" if kind == "mms" else kind
    chosen = {"feat_extract_norm": norm, "do_stable_layer_norm": stable}
    known = AutoConfig.for_model(name)
    return AutoConfig.for_model(
        name, **SIZES[kind], **{key: value for key, value in chosen.items() if hasattr(known, key)}
    )


def draw(kind: str, norm: str = "layer", stable: bool = True, seed: int = 0) -> torch.nn.Module:
    """A random model, no weight left at a round value."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config_of(kind, norm, stable))
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


@torch.no_grad()
def hear(model: torch.nn.Module, wave: torch.Tensor, lengths: torch.Tensor) -> BaseModelOutput:
    """What transformers makes of a padded batch, by the feature extractor that belongs to the model."""
    kind = model.config.model_type
    rows = [row[:length].numpy() for row, length in zip(wave, lengths, strict=True)]
    if kind == "whisper":
        extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=2)
        heard = extractor(rows, sampling_rate=16_000, return_tensors="pt")["input_features"]
        return model.get_submodule("encoder")(heard, output_hidden_states=True)
    if kind == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8)
        return model(**extractor(rows, sampling_rate=16_000, return_tensors="pt"), output_hidden_states=True)
    mask = (torch.arange(wave.shape[1])[None] < lengths[:, None]).long()
    return model(wave, attention_mask=mask, output_hidden_states=True)


def tolerance(kind: str) -> float:
    """By how much states of ours may differ from those of transformers, which are about 1: both round, in other orders.

    For wav2vec2-bert transformers averages the levels of a spectrum in float32, and is out by 3e-5 there.
    """
    return 3e-4 if kind == "wav2vec2-bert" else 5e-5
