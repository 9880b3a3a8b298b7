"""The frozen SSL speech model in two parts: the prefix, which experts do not change, and the transformer blocks.

The *prefix* is what no expert changes: the convolutional feature extractor, in Whisper the spectrum and its
convolutions, in w2v-BERT the spectrum. Its output can be kept and reused. The rest runs once per mixture. The blocks
are those of transformers, unchanged, and hooks read their output. What differs between families is behind `Family`.
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
from molex_adapt.base.families import CALLED, family_of
from molex_adapt.base.frames import frame_mask, mask_if_padded, samples_with_room
from molex_adapt.base.precision import compute_dtype, exact_convolutions, round_products
from molex_adapt.conventions import SAMPLE_RATE, Precision
from molex_adapt.errors import AudioError, ExpertError
from molex_adapt.recipe import FEED_FORWARD

EPSILON = 1e-7
"""Of transformers' feature extractors: what is added to a variance before its root is taken."""


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
        family: what only models of its kind do.
        identity: its id, revision and weights hash.
        normalised: whether waveforms get zero mean and unit variance first.
        epsilon: what is added to that variance.
        dtype: of the products in the blocks. Sums, norms, the prefix and the hidden states are float32.
    """

    def __init__(
        self, model: PreTrainedModel, identity: BaseIdentity, normalised: bool, epsilon: float = EPSILON
    ) -> None:
        super().__init__()
        _check_structure(model, identity.id)
        self.model = streamline_attention(model).eval().requires_grad_(False)
        self.identity = identity
        self.normalised = normalised
        self.epsilon = epsilon
        self.dtype = torch.float32
        self.family = family_of(model.config.model_type)(model)
        self._states: list[Tensor] | None = None
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
        return self.family.prefix_width

    @property
    def receptive_samples(self) -> int:
        """Samples that make one prefix frame, the shortest input; every further 20 ms make one more."""
        return self.family.shortest_samples

    @property
    def longest_samples(self) -> int | None:
        """The longest input; None where there is no limit."""
        return self.family.longest_samples

    def targets(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The layers that a recipe's `lora.targets` mean: its default the feed-forward, whatever it is called here."""
        return self.family.feed_forward if wanted == FEED_FORWARD else wanted

    def train(self, mode: bool = True) -> Base:
        """Stay in evaluation mode: `.train()` would switch on dropout and random masking in a frozen model.

        The model's modules are left alone: they are in it from the start, and all of them are asked at every step.
        """
        self.training = False
        return self

    def compute_in(self, precision: Precision) -> None:
        """Choose the number format of the blocks' products; call it after the base was moved to its device.

        Rounding to bfloat16 cannot be taken back. The prefix stays float32: its features are kept (exemplars, cache)
        and must be the same on every machine.

        Raises:
            ExpertError: float32 is asked for after the weights were rounded.
        """
        dtype = compute_dtype(precision, self.family.device)
        if dtype != self.dtype:
            if dtype == torch.float32:
                raise ExpertError(
                    "this base was rounded to bfloat16 already; load it again to compute in float32"
                )
            self.dtype = dtype
            for part in self.family.rounded:
                round_products(self.family.part(part), dtype, self.family.device)

    def _computing(self) -> torch.autocast:
        device = self.family.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def frames(self, lengths: Tensor) -> Tensor:
        """(B,) valid samples to (B,) valid frames."""
        return self.family.frames(lengths)

    @torch.no_grad()
    def prefix(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolutional features. They depend on the recording alone, not on the experts.

        Args:
            wave: (B, T) float32 at 16 kHz, each row prepared by `prepare`, zero-padded.
            lengths: (B,) int64, valid samples per row. Best on the CPU: reading them from a GPU waits for it.

        Returns:
            (B, F, C) features, zero where padded, and (B,) int64 valid frames on the CPU.

        Raises:
            AudioError: a row is shorter than the receptive field, or longer than the base can hear at once.
        """
        lengths = lengths.cpu()
        self._check_lengths(int(lengths.min()), int(lengths.max()))
        frames = self.frames(lengths)
        wave = wave[:, : samples_with_room(int(lengths.max()))]
        with exact_convolutions():
            if self.family.exact_padding or bool((lengths == wave.shape[1]).all()):
                features = self.family.convolve(wave, lengths)
            else:
                features = self._prefix_by_length(wave, lengths)
        return features * frame_mask(frames, features)[..., None], frames

    def whole(self, wave: Tensor) -> Tensor:
        """The features of `prefix`, (B, F, C), of (B, T) rows none of which is padded; no length is checked."""
        with exact_convolutions():
            return self.family.convolve(wave, None)

    def _check_lengths(self, shortest: int, longest: int) -> None:
        if shortest < self.receptive_samples:
            raise AudioError(
                f"a recording of {shortest} samples is shorter than the base's receptive field of "
                f"{self.receptive_samples} samples at {SAMPLE_RATE} Hz; leave out recordings that short"
            )
        limit = self.longest_samples
        if limit is not None and longest > limit:
            raise AudioError(
                f"{longest / SAMPLE_RATE:g} s at once are more than the {limit / SAMPLE_RATE:g} s that "
                f"{self.identity.id} has positions for; cut windows or crops of at most that length"
            )

    def _prefix_by_length(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Rows of equal length form a batch, so that nothing is padded."""
        whole = int(self.frames(torch.tensor([wave.shape[1]])))
        features = wave.new_zeros(len(wave), whole, self.prefix_width)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            some = self.family.convolve(wave[rows, :length], lengths[rows])
            features[rows, : some.shape[1]] = some
        return features

    def prepare(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T,) waveform in [-1, 1] to the form that the base was trained on."""
        return normalise(wave, self.epsilon) if self.normalised else wave

    def hidden_states(self, features: Tensor, frames: Tensor | None) -> list[Tensor]:
        """Run the transformer on prefix features.

        Args:
            features: (B, F, C) from `prefix`.
            frames: (B,) int64 valid frames, on the CPU or with the features; None where no row is padded.

        Returns:
            L + 1 tensors (B, F, D): the input of the first block and the output of every block. Padded frames hold
            values without meaning.
        """
        states = self._states = []
        try:
            with self._computing(), exact_convolutions():
                self.family.run(features, mask_if_padded(frames, features))
            return states
        finally:
            self._states = None  # nothing is collected where the model is called on its own

    def _catch_input(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._states is not None:
            self._states.append(args[0] if args else kwargs["hidden_states"])

    def _catch_output(self, _block: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if self._states is not None:
            self._states.append(output[0] if isinstance(output, tuple) else output)


def normalise(wave: NDArray[np.float32], epsilon: float = EPSILON) -> NDArray[np.float32]:
    """Zero mean and unit variance, as in transformers' Wav2Vec2FeatureExtractor with `do_normalize`."""
    return np.asarray((wave - wave.mean()) / np.sqrt(wave.var() + epsilon), dtype=np.float32)


def _check_structure(model: nn.Module, name: str) -> None:
    encoder = getattr(model, "encoder", None)
    if encoder is None or len(getattr(encoder, "layers", ())) == 0:
        raise ExpertError(f"{name} has no transformer blocks under encoder.layers; use a {CALLED}")
