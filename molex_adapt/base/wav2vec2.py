"""WavLM, wav2vec 2.0 / XLS-R and HuBERT: convolutions over the waveform, a projection, transformer blocks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from molex_adapt.base.family import Family
from molex_adapt.recipe import FEED_FORWARD


class Wav2Vec2(Family):
    """Any of them, as transformers has it. The prefix is the convolutional feature extractor."""

    kinds = ("wavlm", "wav2vec2", "hubert")
    called = ("WavLM", "wav2vec 2.0 / XLS-R", "HuBERT")
    feed_forward = FEED_FORWARD
    feed_forward_at = "feed_forward"
    rounded = ("feature_projection", "encoder")

    @classmethod
    def read(
        cls, name: str, config: PreTrainedConfig, **options: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        model, report = AutoModel.from_pretrained(name, config=config, output_loading_info=True, **options)
        return model, report

    @classmethod
    def draw(cls, config: PreTrainedConfig) -> PreTrainedModel:
        return cast(PreTrainedModel, AutoModel.from_config(config))

    @classmethod
    def normalises(cls, config: PreTrainedConfig) -> bool:
        return bool(config.feat_extract_norm == "layer")

    @property
    def prefix_width(self) -> int:
        return int(self.model.config.conv_dim[-1])

    @property
    def shortest_samples(self) -> int:
        """All that one frame sees: nothing is padded."""
        samples = 1
        for kernel, stride in zip(
            reversed(self.model.config.conv_kernel), reversed(self.model.config.conv_stride), strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return int(samples)

    @property
    def exact_padding(self) -> bool:
        """Not with group norm, which averages over time, so that padding would change every frame."""
        return bool(self.model.config.feat_extract_norm == "layer")

    def frames(self, lengths: Tensor) -> Tensor:
        count = cast(Any, self.model)._get_feat_extract_output_lengths
        return torch.as_tensor(count(lengths)).to(torch.int64)

    def convolve(self, wave: Tensor, lengths: Tensor) -> Tensor:
        return cast(Tensor, self.part("feature_extractor")(wave)).transpose(1, 2)

    def run(self, features: Tensor, mask: Tensor | None) -> None:
        hidden = self.part("feature_projection")(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        # The residual sum over the blocks stays float32 whatever the products are: its rounding would add up.
        self.part("encoder")(hidden.float(), attention_mask=mask)
