"""Whisper's encoder: a log-mel spectrum, two convolutions, positions, transformer blocks.

Whisper itself pads every recording to 30 s and hears the silence too. Here a recording is heard as long as it is, and
batches are masked. Its positions are counted from the first frame of what is heard, crops included.

Source: Radford et al. (arXiv 2212.04356); layers and weights as in transformers' WhisperEncoder.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, WhisperConfig, WhisperPreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from molex_adapt.base.family import Family
from molex_adapt.base.log_mel import HOP, WINDOW, log_mel
from molex_adapt.conventions import FRAME_SAMPLES

_BARE = r"^(conv1|conv2|embed_positions|layers|layer_norm)\."
"""How names begin in a checkpoint that was saved from WhisperEncoder itself."""


class WhisperWithoutDecoder(WhisperPreTrainedModel):
    """The encoder under the name that it has in transformers' Whisper classes, and thus in their checkpoints."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.post_init()  # type: ignore[no-untyped-call]


class Whisper(Family):
    """Any Whisper. The prefix is the spectrum with the two convolutions."""

    kinds = ("whisper",)
    called = ("Whisper",)
    feed_forward = ("fc1", "fc2")
    feed_forward_at = "fc1"  # there is no module around the two
    rounded = ("encoder.layers",)

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        model.set_attn_implementation("sdpa")  # which takes masks of bool; others would add them as numbers

    @classmethod
    def read(
        cls, name: str, config: PreTrainedConfig, **options: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        """The encoder alone. The decoder of a checkpoint stays on disk."""
        return cast(
            tuple[PreTrainedModel, dict[str, Any]],
            WhisperWithoutDecoder.from_pretrained(
                name,
                config=config,
                output_loading_info=True,
                key_mapping={_BARE: r"encoder.\1."},
                **options,
            ),
        )

    @classmethod
    def draw(cls, config: PreTrainedConfig) -> PreTrainedModel:
        return WhisperWithoutDecoder(cast(WhisperConfig, config))

    @classmethod
    def normalises(cls, config: PreTrainedConfig) -> bool:
        return False

    @property
    def prefix_width(self) -> int:
        return int(self.model.config.d_model)

    @property
    def shortest_samples(self) -> int:
        """One spectrum; what a frame sees beyond a recording's ends is mirrored or zero."""
        return WINDOW

    @property
    def longest_samples(self) -> int:
        """There is a position for each of so many frames; 30 s in OpenAI's models."""
        return int(self.model.config.max_source_positions) * FRAME_SAMPLES

    def closing(self) -> nn.LayerNorm:
        return cast(nn.LayerNorm, self.part("encoder.layer_norm"))

    def frames(self, lengths: Tensor) -> Tensor:
        return (lengths // HOP + 1) // 2

    def convolve(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        mel, valid = log_mel(wave, lengths, self.model.config.num_mel_bins)
        # Zero between the convolutions where a row has ended: that is what the second one finds behind a row alone.
        hidden = F.gelu(self.part("encoder.conv1")(mel)) * valid[:, None]
        return F.gelu(self.part("encoder.conv2")(hidden)).transpose(1, 2)

    def run(self, features: Tensor, mask: Tensor | None) -> None:
        # The sum over the blocks stays float32 whatever the products are: its rounding would add up.
        positions = cast(Tensor, self.part("encoder.embed_positions").weight)
        hidden = features.float() + positions[: features.shape[1]]
        heard = None if mask is None else mask[:, None, None]
        for block in cast(nn.ModuleList, self.part("encoder.layers")):
            hidden = block(hidden, heard)
