"""Masked prediction on a WavLM: its configuration, its heads and its loss.

Shapes: C codebooks, N teacher layers, W their width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WavLMConfig, WavLMModel

from molex_adapt.attention import streamline_attention
from molex_adapt.recipe import PretrainRecipe


def embedded_config(recipe: PretrainRecipe) -> WavLMConfig:
    """A WavLM with a layer-norm feature extractor: group norm would let padding change the features."""
    return WavLMConfig(
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.ffn,
        # One layer fewer than the original stem, with the same 20 ms step: the first layer at 16 kHz / 5 took half
        # of the training time (measured: 35 against 58 audio seconds per second on one core).
        conv_dim=(recipe.conv_channels,) * 6,
        conv_kernel=(20, 4, 4, 4, 4, 2),
        conv_stride=(10, 2, 2, 2, 2, 2),
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=64,
        num_conv_pos_embedding_groups=16,
        num_buckets=160,
        max_bucket_distance=400,
        mask_time_prob=recipe.mask_probability,
        mask_time_length=recipe.mask_frames,
        hidden_dropout=0.05,
        attention_dropout=0.05,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
    )


@dataclass(frozen=True)
class Losses:
    """The losses and accuracies of one batch; scalars."""

    total: Tensor
    masked_accuracy: float
    unmasked_accuracy: float
    regression: float


class MaskedPredictor(nn.Module):
    """The base with one classifier per codebook and one regression per teacher layer."""

    def __init__(
        self, recipe: PretrainRecipe, codebooks: tuple[int, ...], layers: int, layer_width: int
    ) -> None:
        super().__init__()
        self.base = WavLMModel(embedded_config(recipe))
        streamline_attention(self.base)
        self.recipe = recipe
        width = recipe.hidden
        self.classifiers = nn.ModuleList(nn.Linear(width, units) for units in codebooks)
        self.regressions = nn.ModuleList(nn.Linear(width, layer_width) for _ in range(layers))

    def forward(self, wave: Tensor, units: Tensor, layers: Tensor, generator: torch.Generator) -> Losses:
        """Losses of one batch.

        Args:
            wave: (B, T) float32.
            units: (B, F, C) int64.
            layers: (B, F, N, W) standardised teacher layers.
            generator: draws the masks.
        """
        frames = int(self.base._get_feat_extract_output_lengths(wave.shape[1]))
        units, layers = units[:, :frames], layers[:, :frames]
        mask = draw_mask(len(wave), frames, self.recipe.mask_probability, self.recipe.mask_frames, generator)
        hidden = self.base(wave, mask_time_indices=mask).last_hidden_state
        # Frames that are not masked count less: their units can be copied from what is heard.
        weight = torch.where(mask, 1.0, self.recipe.unmasked_weight)
        weight = weight / weight.sum()
        total = hidden.new_zeros((), dtype=torch.float32)
        hits = torch.zeros(frames * len(wave), dtype=torch.bool)
        for index, classifier in enumerate(self.classifiers):
            logits = classifier(hidden).float()
            target = units[..., index]
            loss = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
            total = total + (loss * weight).sum() / len(self.classifiers)
            if index == 0:  # accuracies are of the first codebook, which every recipe with units has
                hits = logits.argmax(-1) == target
        regression = hidden.new_zeros((), dtype=torch.float32)
        for index, head in enumerate(self.regressions):
            distance = F.smooth_l1_loss(
                head(hidden).float(), layers[:, :, index].float(), reduction="none"
            ).mean(-1)
            regression = regression + (distance * weight).sum() / len(self.regressions)
        # A smooth L1 distance of standardised values is several times smaller than a cross-entropy in nats.
        total = total + 4 * regression
        if not self.classifiers:
            return Losses(total, 0.0, 0.0, float(regression.detach()))
        return Losses(total, _share(hits[mask]), _share(hits[~mask]), float(regression.detach()))


def draw_mask(rows: int, frames: int, probability: float, length: int, generator: torch.Generator) -> Tensor:
    """(rows, frames) bool: spans of `length` frames. Each frame starts one with `probability`; every row has a span."""
    starts = torch.rand(rows, frames, generator=generator) < probability
    starts[torch.arange(rows), torch.randint(frames, (rows,), generator=generator)] = True
    # The largest start among a frame and the `length` - 1 frames before it: whether a span covers the frame.
    spans = F.max_pool1d(F.pad(starts.float(), (length - 1, 0))[:, None], length, stride=1)
    return spans[:, 0] > 0


def _share(hits: Tensor) -> float:
    return float(hits.float().mean()) if hits.numel() else 0.0
