"""The detector: base, mixture, head and calibration; waveform in, log-likelihood ratio out.

Shapes: S statistics of the spectrum, N frames or 1 where one decision holds for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molex_adapt.base import Base, frame_mask, send
from molex_adapt.calibration import Calibration
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.head import Head, PublishedHead, PublishedParts
from molex_adapt.mixture import Mixture
from molex_adapt.mixture.routers import utterance_mean
from molex_adapt.readout import Readings, pooled
from molex_adapt.recipe import Recipe
from molex_adapt.windows import windows_of


class Detector(nn.Module):
    """Frozen base with the mixture attached, head, and calibration of its logit to a log-likelihood ratio in nats.

    Without a head that is given, it has one of the recipe's size, which is still to be trained.
    """

    def __init__(
        self,
        base: Base,
        recipe: Recipe,
        calibration: Calibration | None = None,
        head: Head | PublishedHead | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.mixture = Mixture(base, recipe.lora, recipe.router)
        self.head = head if head is not None else Head(base.width, len(base.blocks) + 1, recipe.head)
        self.calibration = calibration if calibration is not None else Calibration.identity()
        self.recipe = recipe.model_copy(update={"lora": self.mixture.lora})
        self.known_logits: dict[int, tuple[Tensor, Tensor]] | None = None
        """Clips with their logits, by the clips' ids; kept by `features.unmoved`."""
        self.mixture.attach()
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.base.family.device

    @property
    def longest_samples(self) -> int:
        """Of one window: the recipe's `window_seconds`, or less where the base cannot hear as much at once."""
        longest = int(self.recipe.data.window_seconds * SAMPLE_RATE)
        return min(longest, self.base.longest_samples or longest)

    @property
    def pooled_width(self) -> int:
        """P, the number of pooled states that the readout reads: a mean and a deviation of every layer's."""
        return 2 * self.base.width * (len(self.base.blocks) + 1)

    @property
    def heard(self) -> int:
        """S, the number of statistics of the low-level view that the readout reads; 0 where there is none."""
        readout = self.head.readout
        return 0 if readout is None else readout.heard

    def logit(self, features: Tensor, frames: Tensor | None) -> Tensor:
        """Uncalibrated scores from prefix features, without the readout. Training works on these.

        Args:
            features: (B, F, C) from `Base.prefix`.
            frames: (B,) int64 valid frames, on the CPU or with the features; None where no row is padded.

        Returns:
            (B,) logit; higher is more bona fide.
        """
        states = self.mixture.hidden_states(features, frames)
        logit: Tensor = self.head(states, frame_mask(frames, features))
        return logit.float()

    def statistics(self, wave: Tensor, lengths: Tensor) -> Tensor | None:
        """The low-level view, (B, S), of waveforms as for `score`; None where there is no readout."""
        readout = self.head.readout
        return None if readout is None else readout.spectrum(wave, lengths)

    @torch.no_grad()
    def readings(self, features: Tensor, frames: Tensor | None, statistics: Tensor | None = None) -> Readings:
        """What the readout reads: features and frames as for `logit`, (B, S) statistics, NaN where there are none."""
        with self.mixture.silenced():
            states = self.base.hidden_states(features, frames)
        read = pooled(states, frame_mask(frames, features))
        heard = self.unheard(len(read)) if statistics is None else statistics
        return Readings(send(heard, read.device), read)

    def unheard(self, count: int) -> Tensor:
        """(count, S) of NaN on the CPU: statistics of recordings that the low-level view did not hear."""
        return torch.full((count, self.heard), torch.nan)

    def fuse(
        self, logit: Tensor, features: Tensor, frames: Tensor | None, statistics: Tensor | None
    ) -> Tensor:
        """(B,) logits of `logit` with what the readout says; as they are where it has nothing to say."""
        readout = self.head.readout
        if readout is None or not readout.has_learnt:
            return logit
        told: Tensor = readout(self.readings(features, frames, statistics))
        return logit + told

    @torch.no_grad()
    def score(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Score utterances with the routed experts.

        Args:
            wave: (B, T) float32 at 16 kHz, each row prepared by `prepare`, zero-padded.
            lengths: (B,) int64, valid samples per row; best on the CPU.

        Returns:
            (B,) log-likelihood ratio in nats; higher is more bona fide.

        Raises:
            AudioError: a row is shorter than the base's receptive field.
        """
        return self.score_and_shares(wave, lengths)[0]

    @torch.no_grad()
    def score_and_shares(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores as by `score`, and how much each expert spoke.

        Returns:
            (B,) log-likelihood ratio in nats; (B, E) shares after top-k, averaged over blocks and frames, each row
            summing to 1.
        """
        features, frames = self.base.prefix(wave, lengths)
        logit = self.logit(features, frames)
        mask = frame_mask(frames, features)
        shares = self.shares(mask)
        return self.calibrate(self.fuse(logit, features, frames, self.statistics(wave, lengths))), shares

    def shares(self, mask: Tensor) -> Tensor:
        """(B, E) of the last pass of the mixture: gates averaged over blocks and the valid frames of (B, F) `mask`."""
        return _mean_gates([routing.gates for routing in self.mixture.routings], mask)

    def calibrate(self, logit: Tensor) -> Tensor:
        """Logit to log-likelihood ratio in nats."""
        return logit * self.calibration.scale + self.calibration.offset

    def prepare(self, wave: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Normalise one recording and cut it into windows that the base can take whole.

        Args:
            wave: (T,) float32 in [-1, 1] at 16 kHz, any length.

        Returns:
            Windows of nearly equal length, at most the recipe's `window_seconds` and what the base can hear at once.

        Raises:
            AudioError: shorter than the base's receptive field, or not finite.
        """
        windows = windows_of(wave, self.base.receptive_samples, self.longest_samples)
        return [self.base.prepare(window) for window in windows]


def head_for(base: Base, recipe: Recipe, state: Mapping[str, Any]) -> Head | PublishedHead:
    """A head of the kind that a stored one is, by its tensors' names and shapes; its values are still to be loaded."""
    states, parts = len(base.blocks) + 1, PublishedParts.of(state)
    if parts is None:
        return Head(base.width, states, recipe.head)
    return PublishedHead(base.width, states, parts, base.family.closing(), recipe.head)


def _mean_gates(blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
    """L tensors (B, N, E), N being F or 1, to (B, E), over blocks and valid frames; (B, 0) without experts."""
    if not blocks:
        return mask.new_zeros(len(mask), 0, dtype=torch.float32)
    return torch.stack([utterance_mean(gates, mask) for gates in blocks]).float().mean(0)
