"""Where batches come from: one pool per domain, classes balanced within each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from molex_adapt.errors import DataError
from molex_adapt.features import send


class Clips(Protocol):
    """What a pool draws from; `features.Features` and `features.OnlineFeatures` are such."""

    @property
    def bona_fide(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def batch(
        self, indices: Sequence[int], crop: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Pool:
    """Utterances of one domain.

    Attributes:
        clips: prefix features and labels.
        share: of every batch, relative to the other pools.
        expert: row of the expert that spoofed speech of this domain belongs to; None where there is none.
        old_logits: (N,) the former mixture's logits, to be held on to; None for new data.
    """

    clips: Clips
    share: float
    expert: int | None = None
    old_logits: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """One step's data; NaN in `old_logit` and -1 in `expert` mean none.

    Attributes:
        features: (B, F, C) float32.
        frames: (B,) int64.
        bona_fide: (B,) float32, 1 for bona fide.
        expert: (B,) int64, for spoofed speech only.
        old_logit: (B,) float32.
    """

    features: Tensor
    frames: Tensor
    bona_fide: Tensor
    expert: Tensor
    old_logit: Tensor


class Sampler:
    """Draws batches: pools by share, classes half and half, every utterance once before any comes again.

    Args:
        pools: where from.
        batch_size: utterances.
        crop: frames of the longest crop.
        seed: of everything drawn.
        shortest: frames; every batch has a length drawn between this and `crop`. None for `crop` always.
    """

    def __init__(
        self, pools: Sequence[Pool], batch_size: int, crop: int, seed: int, shortest: int | None = None
    ) -> None:
        self.pools = [pool for pool in pools if len(pool.clips) and pool.share > 0]
        self.batch_size = batch_size
        self.crop = crop
        self.shortest = crop if shortest is None else max(1, min(shortest, crop))
        self.generator = torch.Generator().manual_seed(seed)
        total = sum(pool.share for pool in self.pools)
        self._cells: list[tuple[Pool, list[int], float]] = []
        for pool in self.pools:
            for bona_fide in (True, False):
                members = (pool.clips.bona_fide == bona_fide).nonzero()[:, 0].tolist()
                if members:
                    self._cells.append((pool, members, pool.share / total / 2))
        classes = {bool(pool.clips.bona_fide[members[0]]) for pool, members, _ in self._cells}
        if classes != {True, False}:
            raise DataError(
                "training needs bona fide and spoofed utterances; one class is missing from the data"
            )
        self._queues: list[list[int]] = [[] for _ in self._cells]
        self._credit = [0.0] * len(self._cells)

    def draw(self, device: torch.device) -> Batch:
        """The next batch, on `device`."""
        features, frames, bona_fide, expert, old = [], [], [], [], []
        spread = self.crop - self.shortest
        crop = self.shortest + int(torch.randint(spread + 1, (1,), generator=self.generator) if spread else 0)
        for pool, indices in self._choose():
            clips, lengths = pool.clips.batch(indices, crop, self.generator)
            label = pool.clips.bona_fide[indices]
            features.append(send(clips, device))
            frames.append(send(lengths, device))
            bona_fide.append(label.float())
            expert.append(torch.where(label, -1, -1 if pool.expert is None else pool.expert))
            nothing = torch.full((len(indices),), torch.nan)
            old.append(nothing if pool.old_logits is None else pool.old_logits[indices])
        width = max(clips.shape[1] for clips in features)
        padded = [torch.nn.functional.pad(clips, (0, 0, 0, width - clips.shape[1])) for clips in features]
        joined = (torch.cat(parts) for parts in (padded, frames, bona_fide, expert, old))
        return Batch(*(send(part, device) for part in joined))

    def state(self) -> dict[str, Tensor]:
        """What decides the next draws."""
        found = {
            f"queue.{at}": torch.tensor(queue, dtype=torch.int64) for at, queue in enumerate(self._queues)
        }
        credit = torch.tensor(self._credit, dtype=torch.float64)
        return {**found, "credit": credit, "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on drawing where another sampler of the same pools stood.

        Raises:
            KeyError, ValueError, RuntimeError: it was one of other pools.
        """
        credit = state["credit"].tolist()
        queues = [state[f"queue.{at}"].tolist() for at in range(len(self._cells))]
        for queue, (_, members, _) in zip(queues, self._cells, strict=True):
            if not set(queue) <= set(members):
                raise ValueError("the sampler drew from other recordings")
        if len(credit) != len(self._cells):
            raise ValueError(f"the sampler had {len(credit)} sources in place of {len(self._cells)}")
        self._queues, self._credit = queues, credit
        self.generator.set_state(state["generator"])

    def _choose(self) -> list[tuple[Pool, list[int]]]:
        chosen: list[tuple[Pool, list[int]]] = []
        while not chosen:  # with more pools than places in a batch, nothing may be due yet
            taken = [
                (pool, self._take(number, members, share))
                for number, (pool, members, share) in enumerate(self._cells)
            ]
            chosen = [(pool, indices) for pool, indices in taken if indices]
        return chosen

    def _take(self, number: int, members: list[int], share: float) -> list[int]:
        # Fractions of an utterance are carried over, so that shares hold over many batches.
        self._credit[number] += share * self.batch_size
        count = int(self._credit[number] + 1e-9)
        self._credit[number] -= count
        queue = self._queues[number]
        while len(queue) < count:
            order = torch.randperm(len(members), generator=self.generator).tolist()
            queue += [members[i] for i in order]
        self._queues[number] = queue[count:]
        return queue[:count]
