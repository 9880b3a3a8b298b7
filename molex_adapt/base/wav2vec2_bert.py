"""w2v-BERT 2.0: Kaldi's log-mel spectrum, and conformer blocks with a feed-forward before and one behind the attention.

Source: Barrault et al. (arXiv 2312.05187); layers and weights as in transformers' Wav2Vec2BertModel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from molex_adapt.base.family import Family
from molex_adapt.base.kaldi_mel import HOP, WINDOW, kaldi_mel, mel_frames

_STACKED = 2
"""Spectra that make one frame."""


class Wav2Vec2Bert(Family):
    """Any w2v-BERT. The prefix is the spectrum; two in a row, 20 ms, are one frame, and an odd last one is none."""

    kinds = ("wav2vec2-bert",)
    called = ("w2v-BERT 2.0",)
    feed_forward = (
        "ffn1.intermediate_dense",
        "ffn1.output_dense",
        "ffn2.intermediate_dense",
        "ffn2.output_dense",
    )
    feed_forward_at = "ffn1"

    @classmethod
    def read(
        cls, name: str, config: PreTrainedConfig, **options: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        """ValueError where no number of mel channels makes frames of the width that the model asks for."""
        if config.feature_projection_input_dim % _STACKED:
            raise ValueError(
                f"feature_projection_input_dim is {config.feature_projection_input_dim}, and a frame is "
                f"{_STACKED} spectra of one width"
            )
        return super().read(name, config, **options)

    @classmethod
    def normalises(cls, config: PreTrainedConfig) -> bool:
        """The spectrum is normalised, and the waveform is not."""
        return False

    @property
    def prefix_width(self) -> int:
        return int(self.model.config.feature_projection_input_dim)

    @property
    def shortest_samples(self) -> int:
        return WINDOW + (_STACKED - 1) * HOP

    def frames(self, lengths: Tensor) -> Tensor:
        return mel_frames(lengths) // _STACKED

    def convolve(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        mel = kaldi_mel(wave, lengths, self.prefix_width // _STACKED)
        whole = mel[:, : mel.shape[1] // _STACKED * _STACKED]
        return whole.reshape(len(mel), -1, self.prefix_width)
