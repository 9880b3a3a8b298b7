"""What a method with replay keeps of a domain, and the old model's logits of what a batch drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE, Seconds
from molex_adapt.features import Features
from molex_adapt.train.pools import Clips, Pool


def drawn_from(
    train: Features, room: int, seconds: Seconds, seed: int, beside: int = 0, statistics: bool = False
) -> Features:
    """As many utterances as find room, by chance, in pairs of a bona fide one and a forged one: its own copy if any.

    Each is at most `seconds` long. Nothing but prefix features and labels is kept, and `statistics` if asked.

    Args:
        train: of the domain.
        room: bytes.
        seconds: longest crop.
        seed: decides which.
        beside: bytes that a method keeps with every utterance.
    """
    generator = torch.Generator().manual_seed(seed)
    real, forged = (
        [members[at] for at in torch.randperm(len(members), generator=generator).tolist()]
        for members in (train.of_class(True), train.of_class(False))
    )
    rows: list[int] = []
    for at in real:
        if not forged:
            break
        twin = next((other for other in forged if train.sources[other] == train.sources[at]), forged[0])
        taken = sum(_bytes(train.clips[row], seconds) + beside for row in (at, twin))
        if taken > room:
            break
        forged.remove(twin)
        room -= taken
        rows += [at, twin]
    kept = replace(train.pick(rows), states=None).cut(seconds)
    return kept if statistics else replace(kept, statistics=None)


def bytes_kept(features: Features) -> int:
    """Bytes of the prefix features, and of the statistics where there are some."""
    statistics = 0 if features.statistics is None else features.statistics.nbytes
    return statistics + sum(clip.numel() * clip.element_size() for clip in features.clips)


@dataclass
class Ledger:
    """The old logits of what was drawn since they were last asked for, in the order of the rows."""

    _drawn: list[Tensor] = field(default_factory=list)

    def pool(self, clips: Clips, share: float, logits: Tensor | None = None) -> Pool:
        """A pool whose draws are written down; without logits (N,), as unknown."""
        known = torch.full((len(clips),), torch.nan) if logits is None else logits
        return Pool(_Written(clips, known, self._drawn), share)

    def distance(self, logit: Tensor) -> Tensor:
        """Mean squared distance of the logits (B,) of a batch to the old ones, where these are known; scalar."""
        if not self._drawn:
            return logit.new_zeros(())
        old = torch.cat(self._drawn).to(logit)
        self._drawn.clear()
        known = ~old.isnan()
        return (logit - old)[known].square().mean() if bool(known.any()) else logit.new_zeros(())


@dataclass(frozen=True)
class _Written:
    clips: Clips
    logits: Tensor
    drawn: list[Tensor]

    @property
    def bona_fide(self) -> Tensor:
        return self.clips.bona_fide

    @property
    def takes(self) -> Sequence[str]:
        return self.clips.takes

    @property
    def sources(self) -> Sequence[str]:
        return self.clips.sources

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: Sequence[int], crop: int, places: Sequence[float]) -> tuple[Tensor, Tensor]:
        self.drawn.append(self.logits[list(indices)])
        return self.clips.batch(indices, crop, places)


def _bytes(clip: Tensor, seconds: Seconds) -> int:
    frames = min(len(clip), int(seconds * SAMPLE_RATE) // FRAME_SAMPLES)
    return frames * clip.shape[1] * clip.element_size()
