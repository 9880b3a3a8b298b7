"""Batches for training: one pool per domain, both classes balanced in each, a forged copy beside its original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.errors import DataError


class Clips(Protocol):
    """What a pool draws from: `features.Features` or `features.OnlineFeatures`."""

    @property
    def bona_fide(self) -> Tensor: ...

    @property
    def sources(self) -> Sequence[str]: ...

    @property
    def takes(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], crop: int, places: Sequence[float]) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Pool:
    """Utterances of one domain; `share` is their weight in every batch, relative to the other pools.

    `expert` is the router row of the expert for its spoofed speech; None where there is none. `told` is what the
    readout adds to the logit of every utterance, (N,); None where it says nothing.
    """

    clips: Clips
    share: float
    expert: int | None = None
    told: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """The data of one step; -1 in `expert` or `twin` means that there is none.

    Whatever decides which rows a loss picks stays on the CPU: reading it from a GPU would mean waiting for the GPU.

    Attributes:
        features: (B, F, C) float32.
        frames: (B,) int64, on the CPU.
        bona_fide: (B,) float32, 1 for bona fide.
        expert: (B,) int64, for spoofed speech only; on the CPU.
        twin: (B,) int64; for a forged copy, the row of the recording that it was made from. On the CPU.
        told: (B,) float32, what the readout adds to the logits.
        said: (B,) float32, logits of the mixture, where the batch was computed in parts; None where it still has to be.
    """

    features: Tensor
    frames: Tensor
    bona_fide: Tensor
    expert: Tensor
    twin: Tensor
    told: Tensor
    said: Tensor | None = None


@dataclass(frozen=True)
class _Strand:
    """One queue of a pool: utterances of one class, or forged utterances that come with their bona fide twins.

    Attributes:
        members: indices in the pool; with twins, those of the forged ones.
        share: draws from this strand as a share of the batch size.
        twins: per member, the indices of its bona fide twins.
    """

    pool: Pool
    members: list[int]
    share: float
    twins: Mapping[int, list[int]] = field(default_factory=dict)


class Sampler:
    """Draws batches: pools by share, both classes equally often, every utterance once before any comes again.

    A forged copy comes with the recording that it was made from, and both are cropped at the same place. Voice and
    words then cancel out, and the attack is the difference. Where only some utterances of a pool have twins, the same
    share of its draws are pairs. Each batch draws one length for all of its crops, between `shortest` and `crop`
    frames.

    Source: vocoded speech beside its original in every batch, Wang and Yamagishi (ICASSP 2023, arXiv 2210.10570).

    Raises:
        DataError: a class is missing from the pools.
    """

    def __init__(
        self, pools: Sequence[Pool], batch_size: int, crop: int, seed: int, shortest: int | None = None
    ) -> None:
        self.pools = [pool for pool in pools if len(pool.clips) and pool.share > 0]
        self.batch_size = batch_size
        self.crop = crop
        self.shortest = crop if shortest is None else max(1, min(shortest, crop))
        self.generator = torch.Generator().manual_seed(seed)
        if len({label for pool in self.pools for label in pool.clips.bona_fide.tolist()}) < 2:
            raise DataError(
                "training needs bona fide and spoofed utterances; one class is missing from the data"
            )
        total = sum(pool.share for pool in self.pools)
        self._strands = [strand for pool in self.pools for strand in _strands(pool, pool.share / total)]
        self._queues: list[list[int]] = [[] for _ in self._strands]
        self._credit = [0.0] * len(self._strands)

    def draw(self, device: torch.device) -> Batch:
        """The next batch, for `device`."""
        features, frames, bona_fide, expert, twin, told = [], [], [], [], [], []
        rows = 0
        spread = self.crop - self.shortest
        crop = self.shortest + int(torch.randint(spread + 1, (1,), generator=self.generator) if spread else 0)
        for strand, indices in self._choose():
            pool = strand.pool
            places = torch.rand(len(indices), generator=self.generator).tolist()
            if strand.twins:
                indices, places = [self._twin(strand, at) for at in indices] + indices, 2 * places
            clips, lengths = pool.clips.batch(indices, crop, places)
            label = pool.clips.bona_fide[indices]
            pairs = len(indices) // 2 if strand.twins else 0
            twin.append(
                torch.cat([torch.full((len(indices) - pairs,), -1), torch.arange(rows, rows + pairs)])
            )
            rows += len(indices)
            features.append(send(clips, device))
            frames.append(lengths)
            bona_fide.append(label.float())
            expert.append(torch.where(label, -1, -1 if pool.expert is None else pool.expert))
            told.append(torch.zeros(len(indices)) if pool.told is None else pool.told[indices].float())
        width = max(clips.shape[1] for clips in features)
        padded = [torch.nn.functional.pad(clips, (0, 0, 0, width - clips.shape[1])) for clips in features]
        return Batch(
            torch.cat(padded),
            torch.cat(frames),
            send(torch.cat(bona_fide), device),
            torch.cat(expert),
            torch.cat(twin),
            send(torch.cat(told), device),
        )

    def state(self) -> dict[str, Tensor]:
        """Everything that decides the next draws, for a checkpoint."""
        found = {
            f"queue.{at}": torch.tensor(queue, dtype=torch.int64) for at, queue in enumerate(self._queues)
        }
        credit = torch.tensor(self._credit, dtype=torch.float64)
        return {**found, "credit": credit, "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where another sampler stopped; some plain error where it was one of other pools."""
        credit = state["credit"].tolist()
        queues = [state[f"queue.{at}"].tolist() for at in range(len(self._strands))]
        for queue, strand in zip(queues, self._strands, strict=True):
            if not set(queue) <= set(strand.members):
                raise ValueError("the sampler drew from other recordings")
        if len(credit) != len(self._strands):
            raise ValueError(f"the sampler had {len(credit)} sources in place of {len(self._strands)}")
        self._queues, self._credit = queues, credit
        self.generator.set_state(state["generator"])

    def _choose(self) -> list[tuple[_Strand, list[int]]]:
        chosen: list[tuple[_Strand, list[int]]] = []
        while not chosen:  # with more strands than places in a batch, a round may draw nothing
            taken = [(strand, self._take(number, strand)) for number, strand in enumerate(self._strands)]
            chosen = [(strand, indices) for strand, indices in taken if indices]
        return chosen

    def _take(self, number: int, strand: _Strand) -> list[int]:
        # Fractions of an utterance carry over to the next batch, so that shares hold over many batches. The small
        # number keeps a credit of 0.999... that rounding left below 1 from waiting for another batch.
        self._credit[number] += strand.share * self.batch_size
        count = int(self._credit[number] + 1e-9)
        self._credit[number] -= count
        queue = self._queues[number]
        while len(queue) < count:
            order = torch.randperm(len(strand.members), generator=self.generator).tolist()
            queue += [strand.members[i] for i in order]
        self._queues[number] = queue[count:]
        return queue[:count]

    def _twin(self, strand: _Strand, forged: int) -> int:
        found = strand.twins[forged]
        return found[int(torch.randint(len(found), (1,), generator=self.generator))]


def _strands(pool: Pool, share: float) -> list[_Strand]:
    """The strands of a pool: its pairs, and the utterances of each class that are drawn alone."""
    labels, sources = pool.clips.bona_fide.tolist(), pool.clips.sources
    takes = pool.clips.takes or sources
    classes = [[at for at, label in enumerate(labels) if label is wanted] for wanted in (True, False)]
    real, forged = classes
    by_take: dict[str, list[int]] = {}
    by_source: dict[str, list[int]] = {}
    for at in real:
        by_take.setdefault(takes[at], []).append(at)
        by_source.setdefault(sources[at], []).append(at)
    # One that went through the same, if there is any: a channel is no forgery.
    found = {at: by_take.get(takes[at]) or by_source.get(sources[at]) for at in forged}
    twins = {at: own for at, own in found.items() if own}
    paired: list[set[int]] = [{at for found in twins.values() for at in found}, set(twins)]
    # A pair takes one utterance of each class. The class with the smaller paired share limits the pairs: with more,
    # its paired utterances would come more often than its others.
    both = min(len(have) / max(1, len(members)) for have, members in zip(paired, classes, strict=True))
    strands = [_Strand(pool, list(twins), both * share / 2, twins)] if twins else []
    for have, members in zip(paired, classes, strict=True):
        if members and both < 1:
            rest = [at for at in members if at not in have] or members
            strands.append(_Strand(pool, rest, (1 - both) * share / 2))
    return strands
