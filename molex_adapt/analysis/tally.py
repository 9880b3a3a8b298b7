"""Sums over recordings, kept on the device: how often each expert was chosen, by which gate, and with whom.

Every recording counts the same, however long: frames are averaged within it first. The averages are added up as
integers of 2^-32, so that sums do not depend on their order: shards of several processes merge to the very numbers that
one process gets. Nothing here waits for the device, and nothing grows with the corpus.

Shapes: G rows of the result, N frames, or 1 where one decision holds for the whole utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from molex_adapt.mixture import Routing

_ONE = 2.0**32
"""Steps of a unit. An average of float32 times a power of two is exact, so that only its last bits are cut off."""


@dataclass(frozen=True)
class Means:
    """Averages over the valid frames of each of B utterances, float32.

    Attributes:
        gates, before: (B, L, E) after and before top-k.
    """

    gates: Tensor
    before: Tensor


@dataclass
class Tally:
    """Sums of the utterances of each row; int64, in steps of 2^-32 but for the counts.

    Attributes:
        counts: (G,) utterances.
        gates, before: (G, L, E) gates after and before top-k.
        chosen, first: (G, L, E) how often an expert was among the top k, and had the largest gate.
        entropy, entropy_before: (G, L) entropy of a frame's gates after and before top-k, bits.
        together: (G, E, E) how often two experts were chosen for the same frame, averaged over blocks.
    """

    counts: Tensor
    gates: Tensor
    before: Tensor
    chosen: Tensor
    first: Tensor
    entropy: Tensor
    entropy_before: Tensor
    together: Tensor

    @classmethod
    def empty(cls, rows: int, blocks: int, experts: int, device: torch.device | str = "cpu") -> Tally:
        """For so many rows, blocks and experts."""
        shapes = [(rows,), *[(rows, blocks, experts)] * 4, *[(rows, blocks)] * 2, (rows, experts, experts)]
        return cls(*(torch.zeros(shape, dtype=torch.int64, device=device) for shape in shapes))

    def add(self, routings: Sequence[Routing], mask: Tensor, rows: Tensor) -> Means:
        """Take in the decisions of all L blocks for B utterances.

        Args:
            routings: by block, as a forward pass leaves them.
            mask: (B, F) bool, True where a frame is valid; on the device.
            rows: (B,) int64, the row of each utterance; on the device.
        """
        share = mask / mask.sum(1, keepdim=True)
        parts = [_averages(routing, share) for routing in routings]
        found = [torch.stack(part, dim=1) for part in zip(*(part[:6] for part in parts), strict=True)]
        together = torch.stack([part[6] for part in parts]).mean(0)
        own = (self.gates, self.before, self.chosen, self.first, self.entropy, self.entropy_before)
        for into, values in (*zip(own, found, strict=True), (self.together, together)):
            into.index_add_(0, rows, (values.float() * _ONE).long())
        self.counts.index_add_(0, rows, torch.ones_like(rows))
        return Means(found[0], found[1])

    def merge(self, other: Tally) -> Tally:
        """The sums of both, exactly; on the CPU."""
        pairs = ((getattr(self, part.name), getattr(other, part.name)) for part in fields(self))
        return Tally(*(one.cpu() + two.cpu() for one, two in pairs))

    def on_cpu(self) -> Tally:
        """The same on the CPU."""
        return Tally(*(getattr(self, part.name).cpu() for part in fields(self)))

    def grouped(self, groups: Sequence[Sequence[int]]) -> Averages:
        """Averages over the rows of each of some groups, such as all conditions of an attack; on the CPU."""
        which = torch.zeros(len(groups), len(self.counts), dtype=torch.int64)
        for at, rows in enumerate(groups):
            which[at, list(rows)] = 1
        counts = which @ self.counts.cpu()

        def mean(values: Tensor) -> Tensor:
            summed = (which @ values.cpu().flatten(1)).view(len(groups), *values.shape[1:])
            per = counts.clamp(min=1).view(-1, *[1] * (values.dim() - 1))
            return summed.double() / _ONE / per

        names = [part.name for part in fields(self)][1:]
        return Averages(counts, *(mean(getattr(self, name)) for name in names))


@dataclass(frozen=True)
class Averages:
    """What a `Tally` comes to, per group of rows; float64 on the CPU, its shapes those of the tally's parts."""

    counts: Tensor
    gates: Tensor
    before: Tensor
    chosen: Tensor
    first: Tensor
    entropy: Tensor
    entropy_before: Tensor
    together: Tensor


def _averages(routing: Routing, share: Tensor) -> tuple[Tensor, ...]:
    """Of one block, (B, E) gates, gates before top-k, chosen, first; (B,) two entropies; (B, E, E) chosen together."""
    if routing.logits.shape[1] == 1:
        share = torch.ones_like(share[:, :1])
    gates, before = routing.gates.float(), routing.probabilities.float()
    chosen = routing.acting.float()
    # topk returns the largest first; what the frozen base keeps may be larger.
    largest = routing.weights[..., :1] >= 1 - routing.weights.sum(-1, keepdim=True)
    first = torch.zeros_like(gates).scatter(-1, routing.chosen[..., :1], largest.to(gates.dtype))
    of_experts = [torch.einsum("bn,bne->be", share, values) for values in (gates, before, chosen, first)]
    entropies = [(share * _entropy(values)).sum(1) for values in (gates, before)]
    together = torch.einsum("bn,bne,bnf->bef", share, chosen, chosen)
    return (*of_experts, *entropies, together)


def _entropy(gates: Tensor) -> Tensor:
    """(B, N) bits of (B, N, E) gates and what they leave to the frozen base; 0 when one takes everything."""
    every = torch.cat([gates, (1 - gates.sum(-1, keepdim=True)).clamp(min=0)], dim=-1)
    # The bound keeps 0 * log 0, which is 0 here, from becoming NaN.
    return -(every * every.clamp(min=1e-12).log2()).sum(-1)
