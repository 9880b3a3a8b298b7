"""WavLM, wav2vec 2.0 with XLS-R and MMS, HuBERT and UniSpeech-SAT: convolutions over the waveform, transformer blocks.

MMS is wav2vec 2.0. Where its config states `adapter_attn_dim`, every block ends in a small adapter for one language:
its weights lie in the checkpoint with all others, and it is a frozen part of the block. Files with adapters of further
languages (`adapter.<language>.safetensors`) are not read.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig

from molex_adapt.base.convolutions import Convolutions
from molex_adapt.base.family import Family


class Wav2Vec2(Family):
    """Any of them, as transformers has it. The prefix is the convolutional feature extractor."""

    kinds: ClassVar[tuple[str, ...]] = ("wavlm", "wav2vec2", "hubert", "unispeech-sat")
    called: ClassVar[tuple[str, ...]] = ("WavLM", "wav2vec 2.0 / XLS-R / MMS", "HuBERT", "UniSpeech-SAT")

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
        for kernel, stride in reversed(self._convolutions):
            samples = (samples - 1) * stride + kernel
        return samples

    @property
    def exact_padding(self) -> bool:
        """Not with group norm, which averages over time, so that padding would change every frame."""
        return bool(self.model.config.feat_extract_norm == "layer")

    def closing(self) -> nn.LayerNorm | None:
        stable = getattr(
            self.model.config, "do_stable_layer_norm", False
        )  # data2vec-audio has no such choice
        return cast(nn.LayerNorm, self.part("encoder.layer_norm")) if stable else None

    def frames(self, lengths: Tensor) -> Tensor:
        # Counted here and not by transformers, which counts what is left after a downsampling `add_adapter`.
        for kernel, stride in self._convolutions:
            lengths = (lengths - kernel) // stride + 1
        return lengths

    def convolve(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        if self._products is not None and self._products.serves(wave):
            return self._products(wave)
        return cast(Tensor, self.part("feature_extractor")(wave)).transpose(1, 2)

    @cached_property
    def _products(self) -> Convolutions | None:
        layers = cast(nn.ModuleList, self.part("feature_extractor.conv_layers"))
        return Convolutions(layers) if Convolutions.can_be(layers) else None

    @property
    def _convolutions(self) -> list[tuple[int, int]]:
        """Kernel and stride of each, from the waveform on."""
        config = self.model.config
        return [(int(k), int(s)) for k, s in zip(config.conv_kernel, config.conv_stride, strict=True)]
