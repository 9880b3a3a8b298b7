"""The frozen SSL speech model in two parts: the prefix, which experts do not change, and the transformer blocks.

The *prefix* is the convolutional feature extractor. No expert changes it, so its output can be kept and reused. The
rest (feature projection, transformer blocks) runs once per mixture. Any WavLM, wav2vec 2.0 or HuBERT of transformers
works: its own encoder code runs unchanged, and hooks read the output of every block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from molex_adapt.attention import streamline_attention
from molex_adapt.base.precision import compute_dtype, exact_convolutions, round_products
from molex_adapt.conventions import SAMPLE_RATE, Precision
from molex_adapt.errors import AudioError, ExpertError


@dataclass(frozen=True)
class BaseIdentity:
    """What identifies a base. An expert fits exactly one.

    Attributes:
        id: Hub model id, or the folder's name for an embedded base.
        revision: commit hash on the Hub; "local" for a folder.
        sha256: over the names and values of all weights.
    """

    id: str
    revision: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.id}@{self.revision[:7]} (sha256 {self.sha256[:8]}…)"


class Base(nn.Module):
    """A frozen SSL encoder.

    Attributes:
        model: the transformers model, in evaluation mode, without gradients.
        identity: its id, revision and weights hash.
        normalised: whether waveforms get zero mean and unit variance first.
        dtype: of the products in the blocks. Sums, norms, the prefix and the hidden states are float32.
        exact_padding: whether the prefix of a padded batch equals the prefix of each row alone.
    """

    def __init__(self, model: PreTrainedModel, identity: BaseIdentity, normalised: bool) -> None:
        super().__init__()
        _check_structure(model, identity.id)
        self.model = streamline_attention(model).eval().requires_grad_(False)
        self.identity = identity
        self.normalised = normalised
        self.dtype = torch.float32
        self.exact_padding = model.config.feat_extract_norm == "layer"
        self._states: list[Tensor] = []
        self.blocks[0].register_forward_pre_hook(self._catch_input, with_kwargs=True)
        for block in self.blocks:
            block.register_forward_hook(self._catch_output)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        return cast(nn.ModuleList, self.model.get_submodule("encoder.layers"))

    @property
    def width(self) -> int:
        """D, the width of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def prefix_width(self) -> int:
        """C, the width of the prefix features."""
        return int(self.model.config.conv_dim[-1])

    @property
    def receptive_samples(self) -> int:
        """Samples that one prefix frame sees; the shortest input."""
        samples = 1
        for kernel, stride in zip(
            reversed(self.model.config.conv_kernel), reversed(self.model.config.conv_stride), strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return int(samples)

    def train(self, mode: bool = True) -> Base:
        """Stay in evaluation mode: `.train()` would switch on dropout and random masking in a frozen model."""
        return super().train(False)

    def compute_in(self, precision: Precision) -> None:
        """Choose the number format of the blocks' products; call it after the base was moved to its device.

        Rounding to bfloat16 cannot be taken back. The prefix stays float32: its features are kept (exemplars, cache)
        and must be the same on every machine.

        Raises:
            ExpertError: float32 is asked for after the weights were rounded.
        """
        dtype = compute_dtype(precision, next(self.model.parameters()).device)
        if dtype != self.dtype:
            if dtype == torch.float32:
                raise ExpertError(
                    "this base was rounded to bfloat16 already; load it again to compute in float32"
                )
            self.dtype = dtype
            for part in ("feature_projection", "encoder"):
                round_products(self._part(part), dtype)

    def _computing(self) -> torch.autocast:
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def frames(self, lengths: Tensor) -> Tensor:
        """(B,) valid samples to (B,) valid frames."""
        return torch.as_tensor(self.model._get_feat_extract_output_lengths(lengths)).to(torch.int64)

    @torch.no_grad()
    def prefix(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolutional features. They depend on the recording alone, not on the experts.

        Args:
            wave: (B, T) float32 at 16 kHz, each row prepared by `prepare`, zero-padded.
            lengths: (B,) int64, valid samples per row. Best on the CPU: reading them from a GPU waits for it.

        Returns:
            (B, F, C) features, zero where padded, and (B,) int64 valid frames on the CPU.

        Raises:
            AudioError: a row is shorter than the receptive field.
        """
        lengths = lengths.cpu()
        shortest = int(lengths.min())
        if shortest < self.receptive_samples:
            raise AudioError(
                f"a recording of {shortest} samples is shorter than the base's receptive field of "
                f"{self.receptive_samples} samples at {SAMPLE_RATE} Hz; leave out recordings that short"
            )
        frames = self.frames(lengths)
        with exact_convolutions():
            if self.exact_padding or bool((lengths == lengths[0]).all()):
                features = self._part("feature_extractor")(wave[:, : int(lengths.max())]).transpose(1, 2)
            else:
                features = self._prefix_by_length(wave, lengths, frames)
        return features * frame_mask(frames, features)[..., None], frames

    def _prefix_by_length(self, wave: Tensor, lengths: Tensor, frames: Tensor) -> Tensor:
        # Group norm averages over time, so padding would change every frame. Rows of equal length form a batch.
        features = wave.new_zeros(len(wave), int(frames.max()), self.prefix_width)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            some = self._part("feature_extractor")(wave[rows, :length]).transpose(1, 2)
            features[rows, : some.shape[1]] = some
        return features

    def prepare(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T,) waveform in [-1, 1] to the form that the base was trained on."""
        return normalise(wave) if self.normalised else wave

    def hidden_states(self, features: Tensor, frames: Tensor) -> list[Tensor]:
        """Run the transformer on prefix features.

        Args:
            features: (B, F, C) from `prefix`.
            frames: (B,) int64 valid frames, on the CPU or with the features.

        Returns:
            L + 1 tensors (B, F, D): the input of the first block and the output of every block. Padded frames hold
            values without meaning.
        """
        self._states = []
        try:
            with self._computing(), exact_convolutions():
                hidden = self._part("feature_projection")(features)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
                # The residual sum over the blocks stays float32 whatever the products are: its rounding would add up.
                self._part("encoder")(hidden.float(), attention_mask=_mask_if_padded(frames, features))
            return self._states
        finally:
            self._states = []

    def _part(self, name: str) -> nn.Module:
        return cast(nn.Module, self.model.get_submodule(name))

    def _catch_input(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._states.append(args[0] if args else kwargs["hidden_states"])

    def _catch_output(self, _block: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        self._states.append(output[0] if isinstance(output, tuple) else output)


def frame_mask(frames: Tensor, features: Tensor) -> Tensor:
    """(B, F) bool on the features' device, true where a frame of (B, F, ...) is valid. Nothing waits for a GPU."""
    counts = send(frames, features.device)
    return torch.arange(features.shape[1], device=features.device)[None] < counts[:, None]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. Copies to a GPU go through pinned memory, so that nothing waits for them."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    # Pinned however small: on an H100, eight bytes from pageable memory waited for every kernel queued before them.
    return tensor.pin_memory().to(device, non_blocking=True)


def normalise(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance, as in transformers' Wav2Vec2FeatureExtractor with `do_normalize`, 1e-7 included."""
    return np.asarray((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7), dtype=np.float32)


def _check_structure(model: nn.Module, name: str) -> None:
    encoder = getattr(model, "encoder", None)
    if (
        encoder is None
        or not hasattr(model, "feature_projection")
        or len(getattr(encoder, "layers", ())) == 0
    ):
        raise ExpertError(
            f"{name} has no transformer blocks under encoder.layers; use a WavLM, wav2vec 2.0 or HuBERT"
        )


def _mask_if_padded(frames: Tensor, features: Tensor) -> Tensor | None:
    """The mask, or None where no row is padded, which is faster. A mask on a GPU is not examined: that would wait."""
    if frames.device.type == "cpu" and bool((frames == features.shape[1]).all()):
        return None
    return frame_mask(frames, features)
