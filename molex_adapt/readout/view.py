"""One kind of features as the readout sees it: standardised, with the second moments of bona fide speech.

Shapes: N recordings, R raw features of a view, K of it after its basis, G folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from molex_adapt.errors import MolexError
from molex_adapt.processes import place, summed

_CLIP = 6.0
MOST_STANDARDISED = 8192
"""Recordings from which a view's centre, spread and basis are made."""
_CENTRE, _SPREAD, _BASIS, _MOMENTS = "centre", "spread", "basis", "moments"


@dataclass(frozen=True)
class Moments:
    """Sums of outer products of (N, K + 1) features by fold: (G, K + 1, K + 1), and (G,) counts, double precision."""

    sums: Tensor
    counts: Tensor

    @classmethod
    def of(cls, rows: Tensor, folds: Tensor, count: int) -> Moments:
        """Of features, and (N,) folds below `count`. Not every device has double precision: all is on the CPU.

        Of several processes, which have the same features, each multiplies some of the rows, and the sums are added.
        """
        rank, several = place()
        values, folds = rows.cpu().double()[rank::several], folds[rank::several]
        parts = [values[folds == fold] for fold in range(count)]
        counts = torch.tensor([float(len(own)) for own in parts])
        sums = values.new_empty(count, values.shape[1], values.shape[1])
        for own, product in zip(parts, sums, strict=True):
            torch.matmul(own.T, own, out=product)
        return cls(summed(sums), summed(counts))

    def mean(self, without: int | None = None) -> Tensor:
        """(K + 1, K + 1), of all folds but one; of all where nothing would be left."""
        sums, count = self._whole, self.counts.sum()
        if without is not None and self.counts[without] < count:
            return (sums - self.sums[without]).div_((count - self.counts[without]).clamp(min=1))
        return sums / count.clamp(min=1)

    @cached_property
    def _whole(self) -> Tensor:
        return self.sums.sum(0)


def half_of(moments: Tensor) -> Tensor:
    """The upper triangle of a (K + 1, K + 1) matrix in one row; half precision is far finer than any ridge."""
    above = torch.triu_indices(*moments.shape)
    return moments[above[0], above[1]].half()


def whole_of(above: Tensor) -> Tensor:
    """The other way round, double precision on the CPU."""
    size = (math.isqrt(8 * len(above) + 1) - 1) // 2
    found = torch.zeros(size, size, dtype=torch.float64)
    rows, columns = torch.triu_indices(size, size)
    found[rows, columns] = above.cpu().double()
    return found + found.triu(1).T


@dataclass(frozen=True)
class Ridge:
    """What holds a witness's weights back: a penalty on their squares, where features have a mean square of 1.

    Attributes:
        least: with any number of recordings.
        pull: what it is times the number of forged recordings, where these are few.
    """

    least: float
    pull: float

    def of(self, forged: float) -> float:
        """For so many forged recordings."""
        return max(self.least, self.pull / max(forged, 1.0))


class View(nn.Module):
    """Features of one kind, standardised once, and the second moments of bona fide speech in them.

    Attributes:
        centre, spread: (R,) of the raw features.
        basis: (R, K) principal components after that, such that the features have a mean square of 1; (R, 0) for a view
            that is used as it is.
        moments: (K + 1, K + 1) of bona fide speech, the last feature constant; its upper triangle in one row. Single
            precision: what a domain brought to it can be taken out again to seven digits.
    """

    def __init__(self, raw: int, components: int, ridge: Ridge) -> None:
        super().__init__()
        self.ridge = ridge
        self.size = (components or raw) + 1
        self.register_buffer(_CENTRE, torch.zeros(raw))
        self.register_buffer(_SPREAD, torch.ones(raw))
        self.register_buffer(_BASIS, torch.zeros(raw, components, dtype=torch.float16))
        above = self.size * (self.size + 1) // 2
        self.register_buffer(_MOMENTS, torch.zeros(above))

    centre: Tensor
    spread: Tensor
    basis: Tensor
    moments: Tensor

    def forward(self, raw: Tensor) -> Tensor:
        """(N, R) to (N, K + 1) float32, the last one constant."""
        rows = ((raw.to(self.centre.device).float() - self.centre) / self.spread).clamp(-_CLIP, _CLIP)
        rows = rows @ self.basis.float() if self.basis.shape[1] else rows
        return nn.functional.pad(rows, (0, 1), value=1.0)

    @property
    def is_standardised(self) -> bool:
        """Whether centre, spread and basis were decided on."""
        return bool((self.spread != 1).any())

    def standardise(self, parts: Sequence[Tensor]) -> None:
        """Decide on centre, spread and basis, once, from all rows of (N, R) each: of very many some, by chance."""
        share = min(1.0, MOST_STANDARDISED / sum(map(len, parts)))
        raw = torch.cat([_some(part, share).float() for part in parts])
        self.centre.copy_(raw.mean(0))
        self.spread.copy_(raw.std(0, unbiased=False).clamp(min=1e-3))
        if not self.basis.shape[1]:
            return
        rows = raw.sub_(self.centre.cpu()).div_(self.spread.cpu()).clamp_(-_CLIP, _CLIP)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            axes = torch.svd_lowrank(rows, q=min(self.basis.shape[1], *rows.shape), niter=3)[2]
        scale = (rows @ axes).square().mean().sqrt().clamp(min=1e-3)  # half precision ends at 65504
        self.basis.zero_()
        self.basis[:, : axes.shape[1]] = (axes / scale).to(self.basis)

    @property
    def kept(self) -> Tensor:
        """(K + 1, K + 1) double precision on the CPU: the moments as a whole matrix."""
        return whole_of(self.moments)

    def take_in(self, known: int, domains: Sequence[Tensor]) -> None:
        """Add what `half_of` left of further domains to the mean over `known` ones."""
        total = self.moments.double() * known + sum(own.to(self.moments).double() for own in domains)
        self.moments.copy_(total / (known + len(domains)))

    def solve(self, real: Tensor, forged: Moments, without: int | None = None) -> Tensor:
        """Weights (K + 1,) that tell bona fide speech (near 1) from spoofed (near -1), by the moments of both.

        Args:
            real: (K + 1, K + 1) mean of bona fide speech.
            forged: of spoofed speech.
            without: a fold of it that is left out.

        Raises:
            MolexError: the moments cannot be solved.
        """
        own = forged.mean(without)
        both = (real + own).div_(2)
        both.diagonal()[:-1].add_(self.ridge.of(float(forged.counts.sum())))
        both[-1, -1] += 1e-9  # the constant is not held back
        factor, fault = torch.linalg.cholesky_ex(both)
        if fault:
            raise MolexError(
                "the readout cannot be solved: what the head keeps of former domains is not what recordings give. "
                "Restore head.safetensors from a copy, or roll back to an earlier generation"
            )
        # The last column holds the means: every feature times the constant.
        return torch.cholesky_solve((real[:, -1:] - own[:, -1:]) / 2, factor)[:, 0].float()


def _some(rows: Tensor, share: float) -> Tensor:
    """As large a share of the rows, by chance."""
    if share == 1:
        return rows
    return rows[
        torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: round(share * len(rows))]
    ]
