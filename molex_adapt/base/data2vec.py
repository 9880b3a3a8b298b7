"""data2vec-audio: the convolutions and blocks of wav2vec 2.0, and positions from a stack of convolutions.

Source: Baevski et al. (arXiv 2202.03555); layers and weights as in transformers' Data2VecAudioModel.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from molex_adapt.base.wav2vec2 import Wav2Vec2


class Data2VecAudio(Wav2Vec2):
    """Any data2vec-audio. The prefix is the convolutional feature extractor."""

    kinds = ("data2vec-audio",)
    called = ("data2vec-audio",)
    exact_padding = True  # its feature extractor has layer norms only

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self._mask: Tensor | None = None
        for layer in cast(nn.ModuleList, self.part("encoder.pos_conv_embed.layers")):
            layer.register_forward_pre_hook(self._silence)

    @classmethod
    def normalises(cls, config: PreTrainedConfig) -> bool:
        return True

    def run(self, features: Tensor, mask: Tensor | None) -> None:
        self._mask = mask
        try:
            super().run(features, mask)
        finally:
            self._mask = None

    def _silence(self, _layer: nn.Module, args: tuple[Any, ...]) -> Tensor:
        """Zero in (B, D, F) where a row has ended: what a convolution of the stack finds behind a row alone.

        In transformers the first one leaves its bias there, and the next ones hear it.
        """
        hidden: Tensor = args[0]
        return hidden if self._mask is None else hidden * self._mask[:, None]
