"""wav2vec 2.0 and HuBERT by the names that fairseq gives their weights, as transformers' models.

Source: the modules of fairseq's Wav2Vec2Model and HubertModel, and of transformers' Wav2Vec2Model.

Shapes: K kernel size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from transformers import HubertConfig, PreTrainedConfig, Wav2Vec2Config

from molex_adapt.errors import RegistryError

_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^mask_emb$", "masked_spec_embed"),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
        (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?", r"\1.layer_norm."),
        (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"(?<=\.pos_conv_embed\.conv\.)weight_g$", "parametrizations.weight.original0"),
        (r"(?<=\.pos_conv_embed\.conv\.)weight_v$", "parametrizations.weight.original1"),
        (r"^(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
        (r"^(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
        (r"^(encoder\.layers\.\d+)\.fc1\.", r"\1.feed_forward.intermediate_dense."),
        (r"^(encoder\.layers\.\d+)\.fc2\.", r"\1.feed_forward.output_dense."),
    )
)
_OF_PRETRAINING = re.compile(
    r"^(quantizer|project_q|final_proj|target_glu|label_embs_concat|input_quantizer)\b"
)
_OF_HUBERT = "label_embs_concat"
_HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}
"""Attention heads by width, of every model that fairseq published; no shape tells them."""
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
"""Of the convolutions, which no shape tells either: 20 ms together."""


def renamed(name: str) -> str | None:
    """The name in transformers; None for what only pretraining used. Names of transformers stay."""
    if _OF_PRETRAINING.match(name):
        return None
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name


def config_of(
    weights: Mapping[str, Tensor], former: Iterable[str], stated: Mapping[str, Any], name: str
) -> PreTrainedConfig:
    """The configuration that weights ask for.

    Args:
        weights: under transformers' names.
        former: the names that they came with.
        stated: a config.json beside them, in the words of fairseq or of transformers, for what no shape tells.
        name: of the detector, for messages.

    Raises:
        RegistryError: a weight is missing, or the number of attention heads is not known.
    """
    try:
        return _config_of(weights, former, stated, name)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise RegistryError(
            f"{name} holds no whole wav2vec 2.0 or HuBERT under fairseq's names: {error} is missing or has another "
            "shape. Give the checkpoint as it was published"
        ) from None


def _config_of(
    weights: Mapping[str, Tensor], former: Iterable[str], stated: Mapping[str, Any], name: str
) -> PreTrainedConfig:
    convolutions = [
        weights[f"feature_extractor.conv_layers.{at}.conv.weight"]
        for at in range(_count(weights, "feature_extractor.conv_layers"))
    ]
    place = "encoder.pos_conv_embed.conv"
    positions = weights[f"{place}.parametrizations.weight.original1"]  # (D, D / groups, K)
    width, layers = int(positions.shape[0]), _count(weights, "encoder.layers")
    layer_norm = "feature_extractor.conv_layers.1.layer_norm.weight" in weights
    strides = stated.get("conv_stride", _STRIDES)
    if len(strides) != len(convolutions):
        raise RegistryError(
            f"{name} has {len(convolutions)} convolutions, and the strides of {len(strides)} are known. State "
            "conv_stride in a config.json beside the weights"
        )
    kind = HubertConfig if any(_OF_HUBERT in key for key in former) else Wav2Vec2Config
    return kind(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=_heads(stated, width, name),
        intermediate_size=int(weights["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0]),
        conv_dim=tuple(int(item.shape[0]) for item in convolutions),
        conv_kernel=tuple(int(item.shape[2]) for item in convolutions),
        conv_stride=tuple(strides),
        conv_bias="feature_extractor.conv_layers.0.conv.bias" in weights,
        num_conv_pos_embeddings=int(positions.shape[2]),
        num_conv_pos_embedding_groups=width // int(positions.shape[1]),
        feat_extract_norm="layer" if layer_norm else "group",
        # fairseq's models with a layer norm in every convolution also normalise before each block, others after it.
        do_stable_layer_norm=bool(
            stated.get("do_stable_layer_norm", stated.get("layer_norm_first", layer_norm))
        ),
    )


def _count(weights: Mapping[str, Tensor], place: str) -> int:
    found = [re.match(rf"{re.escape(place)}\.(\d+)\.", key) for key in weights]
    return max((int(item[1]) for item in found if item), default=-1) + 1


def _heads(stated: Mapping[str, Any], width: int, name: str) -> int:
    found = stated.get("num_attention_heads", stated.get("encoder_attention_heads", _HEADS.get(width)))
    if not isinstance(found, int) or isinstance(found, bool) or found < 1 or width % found:
        raise RegistryError(
            f"{name} is {width} wide, and how many attention heads it has is not known ({found!r}). State "
            "num_attention_heads in a config.json beside the weights"
        )
    return found
