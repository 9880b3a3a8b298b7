"""The detector: base, mixture, head and calibration; waveform in, log-likelihood ratio out.

Shapes: A witnesses, S statistics of the spectrum, P pooled states of the frozen base, N frames or 1 where one decision
holds for all.
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
from molex_adapt.errors import ExpertError
from molex_adapt.head import Head, PublishedHead, PublishedParts, is_relative
from molex_adapt.mixture import Mixture
from molex_adapt.mixture.routers import utterance_mean
from molex_adapt.readout import Readings, Readout, pooled
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
        self.head = head if head is not None else Head(base.width, len(base.blocks) + 1, recipe.head)
        # Where gates can be shut for all, the head has to say nothing then.
        self.mixture = Mixture(base, recipe.lora, recipe.router, rest=self.head.relative)
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

    @property
    def readout_alone(self) -> bool:
        """Whether nothing but the readout speaks: no expert acts, and a relative head says 0 then."""
        return self.head.relative and self.mixture.is_silent

    def require_voice(self) -> None:
        """Refuse to score where nothing speaks.

        Raises:
            ExpertError: no expert acts, and the readout has no part in the score.
        """
        readout = self.head.readout
        if self.readout_alone and (readout is None or not readout.has_learnt or not float(readout.share) > 0):
            raise ExpertError(
                "every score would be the same: no expert is at work, and no readout speaks instead. Teach it an "
                "attack (molex-adapt add-expert DATA --domain NAME), or go back (molex-adapt rollback)"
            )

    def logit(self, features: Tensor, frames: Tensor | None, frozen: list[Tensor] | None = None) -> Tensor:
        """Uncalibrated scores from prefix features, without the readout. Training works on these.

        Args:
            features: (B, F, C) from `Base.prefix`.
            frames: (B,) int64 valid frames, on the CPU or with the features; None where no row is padded.
            frozen: `frozen_states` of the same, where they are known; a relative head needs them, and has them made.

        Returns:
            (B,) logit; higher is more bona fide.
        """
        if self.head.relative and frozen is None:
            frozen = self.frozen_states(features, frames)
        states = self.mixture.hidden_states(features, frames)
        logit: Tensor = self.head(states, frame_mask(frames, features), frozen)
        return logit.float()

    @torch.no_grad()
    def frozen_states(self, features: Tensor, frames: Tensor | None) -> list[Tensor]:
        """L + 1 tensors (B, F, D) of the base without experts; arguments as for `logit`."""
        with self.mixture.silenced():
            return self.base.hidden_states(features, frames)

    def statistics(self, wave: Tensor, lengths: Tensor) -> Tensor | None:
        """The low-level view, (B, S), of waveforms as for `score`; None where there is no readout."""
        readout = self.head.readout
        return None if readout is None else readout.spectrum(wave, lengths)

    @torch.no_grad()
    def pooled_states(self, features: Tensor, frames: Tensor | None) -> Tensor:
        """(B, P) that the readout reads of the frozen base; arguments as for `logit`."""
        return pooled(self.frozen_states(features, frames), frame_mask(frames, features))

    def witnessed(self, frozen: list[Tensor], mask: Tensor, statistics: Tensor | None) -> Tensor:
        """What each witness of the readout says.

        Args:
            frozen: L + 1 tensors (B, F, D) of the base without experts.
            mask: (B, F) bool, True where a frame is valid.
            statistics: (B, S) of the low-level view; None where it heard nothing.

        Returns:
            (B, A) log-likelihood ratios in nats; A is 0 where there is no readout or it has learnt nothing.
        """
        readout = self.head.readout
        if readout is None or not readout.has_learnt:
            return torch.zeros(len(mask), 0, device=mask.device)
        heard = self.unheard(len(mask)) if statistics is None else statistics
        return readout.each(Readings(send(heard, mask.device), pooled(frozen, mask))).float()

    def told(self, each: Tensor) -> Tensor:
        """(B,) the part of the readout in the score, from (B, A) of its witnesses; 0 where there are none."""
        readout = self.head.readout
        return each.sum(1) if readout is None or not each.shape[1] else readout.share * readout.mixed(each)

    def whole(self, logit: Tensor, each: Tensor) -> Tensor:
        """(B,) uncalibrated scores from the head's (B,) and the witnesses' (B, A).

        Beside a relative head experts come on top of the readout: see `Readout.joined`. A head that is not was trained
        to be added to it.
        """
        readout = self.head.readout
        if readout is None or not each.shape[1] or not self.head.relative:
            return logit + self.told(each)
        return readout.joined(each, logit, self._joins(readout))

    def _joins(self, readout: Readout) -> Tensor:
        """(A,) bool, the witnesses of the experts that act.

        All of them where an expert acts that has none: then nobody can say which attacks it knows. The witness for any
        attack is no expert's.
        """
        acting, names, owners = self.mixture.acting, self.mixture.names, readout.owners
        named = any(owners)
        knows = [
            [bool(owner or not named) and (name == owner or name not in owners) for owner in owners]
            for name in names
        ]
        table = torch.tensor(knows, dtype=torch.bool).reshape(len(names), len(owners))
        return (acting[:, None] & send(table, acting.device)).any(0)

    def unheard(self, count: int) -> Tensor:
        """(count, S) of NaN on the CPU: statistics of recordings that the low-level view did not hear."""
        return torch.full((count, self.heard), torch.nan)

    def whole_logit(self, features: Tensor, frames: Tensor | None, statistics: Tensor | None) -> Tensor:
        """(B,) uncalibrated scores with what the readout says; arguments as for `logit` and `witnessed`."""
        readout = self.head.readout
        if readout is None or not readout.has_learnt:
            return self.logit(features, frames)
        frozen = self.frozen_states(features, frames)
        each = self.witnessed(frozen, frame_mask(frames, features), statistics)
        return self.whole(self.logit(features, frames, frozen), each)

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
            (B,) log-likelihood ratio in nats; (B, E) shares after top-k, averaged over blocks and frames. A row sums to
            1, or to less where the frozen base keeps a share.
        """
        alone = self.readout_alone  # asked before anything runs that a GPU would have to end first
        features, frames = self.base.prefix(wave, lengths)
        mask, statistics = frame_mask(frames, features), self.statistics(wave, lengths)
        if alone:
            return self.calibrate(self.alone(features, frames, statistics)), self.no_shares(mask)
        return self.calibrate(self.whole_logit(features, frames, statistics)), self.shares(mask)

    def alone(self, features: Tensor, frames: Tensor | None, statistics: Tensor | None) -> Tensor:
        """(B,) what `whole_logit` is where nothing but the readout speaks, in half of the time."""
        frozen = self.frozen_states(features, frames)
        return self.told(self.witnessed(frozen, frame_mask(frames, features), statistics))

    def no_shares(self, mask: Tensor) -> Tensor:
        """(B, E) of zeros, for (B, F) valid frames: the frozen base keeps all of the gates."""
        return mask.new_zeros(len(mask), len(self.mixture.names), dtype=torch.float32)

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
        return Head(base.width, states, recipe.head, relative=is_relative(state))
    return PublishedHead(base.width, states, parts, base.family.closing(), recipe.head)


def _mean_gates(blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
    """L tensors (B, N, E), N being F or 1, to (B, E), over blocks and valid frames; (B, 0) without experts."""
    if not blocks:
        return mask.new_zeros(len(mask), 0, dtype=torch.float32)
    return torch.stack([utterance_mean(gates, mask) for gates in blocks]).float().mean(0)
