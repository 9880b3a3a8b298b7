"""The weights of all experts on one layer, in two tensors. Each expert's own matrices are views of them.

Shapes: R_e one expert's own rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from molex_adapt.mixture.stack import Stack


class Bank(nn.Module):
    """LoRA matrices of E experts, padded with zeros to the largest rank: zero rows add nothing to a product.

    Attributes:
        a, b: per expert (R_e, D_in) and (D_out, R_e), views of the stacked tensors.
        scales: (E,) alpha / rank.
    """

    scales: Tensor

    def __init__(self, inputs: int, outputs: int, device: torch.device) -> None:
        super().__init__()
        self.ranks: list[int] = []
        self.a = Stack(
            torch.zeros(0, 0, inputs, device=device), lambda table, at: table[at, : self.ranks[at]]
        )
        self.b = Stack(
            torch.zeros(0, 0, outputs, device=device), lambda table, at: table[at, : self.ranks[at]].T
        )
        self.register_buffer("scales", torch.zeros(0, device=device))
        self._rounded: dict[torch.dtype, tuple[tuple[int, int], Tensor, Tensor]] = {}
        self._zeroed: tuple[list[int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ranks)

    @property
    def stacked_a(self) -> Tensor:
        """(E, R, D_in)."""
        return self.a.table

    @property
    def stacked_b(self) -> Tensor:
        """(E, R, D_out)."""
        return self.b.table

    @property
    def rank(self) -> int:
        """R, the largest rank."""
        return int(self.stacked_a.shape[1])

    @torch.no_grad()
    def extend(self, matrices: Sequence[tuple[Tensor, Tensor]], scales: Sequence[float]) -> None:
        """Append experts: A (R_e, D_in), B (D_out, R_e) and alpha / rank of each."""
        former = len(self)
        ranks = [*self.ranks, *(len(a) for a, _ in matrices)]
        a = self._room(self.stacked_a, ranks, [a.dtype for a, _ in matrices])
        b = self._room(self.stacked_b, ranks, [b.dtype for _, b in matrices])
        for at, (own_a, own_b) in enumerate(matrices, start=former):
            a[at, : ranks[at]] = own_a
            b[at, : ranks[at]] = own_b.T
        added = torch.tensor(scales, dtype=self.scales.dtype, device=self.scales.device)
        self._adopt(a, b, ranks, torch.cat([self.scales, added]), range(former))

    @torch.no_grad()
    def remove(self, index: int) -> None:
        """Drop the expert at `index`."""
        kept = [at for at in range(len(self)) if at != index]
        ranks = [self.ranks[at] for at in kept]
        rank = max(ranks, default=0)
        self._adopt(self.stacked_a[kept, :rank], self.stacked_b[kept, :rank], ranks, self.scales[kept], kept)

    @torch.no_grad()
    def adopt(self, a: Tensor, b: Tensor, ranks: Sequence[int], scales: Sequence[float]) -> None:
        """Replace all experts by stacked ones of any floating type, zero beyond each rank, without a copy."""
        device = self.scales.device
        self._adopt(a.to(device), b.to(device), ranks, self.scales.new_tensor(scales), ())

    @torch.no_grad()
    def widen(self) -> None:
        """Make half-precision experts float32, so that they can be trained."""
        if self.stacked_a.dtype in (torch.float16, torch.bfloat16):
            everyone = range(len(self))
            self._adopt(self.stacked_a.float(), self.stacked_b.float(), self.ranks, self.scales, everyone)

    def stacked(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both stacked tensors in another type. They are kept until an expert changes."""
        if dtype == self.stacked_a.dtype:
            return self.stacked_a, self.stacked_b
        # torch counts in-place changes of a tensor: training changes the weights without telling this class.
        version = (self.stacked_a._version, self.stacked_b._version)
        found = self._rounded.get(dtype)
        if found is None or found[0] != version:
            found = version, self.stacked_a.to(dtype), self.stacked_b.to(dtype)
            self._rounded[dtype] = found
        return found[1:]

    def scales_without(self, left_out: Sequence[int]) -> Tensor:
        """(E,) scales, with zeros for some experts. The last answer is kept until an expert changes."""
        if self._zeroed is None or self._zeroed[0] != left_out:
            index = torch.tensor(left_out, device=self.scales.device)
            self._zeroed = list(left_out), self.scales.index_fill(0, index, 0)
        return self._zeroed[1]

    def trained(self) -> list[int]:
        """The experts that gradients are asked for."""
        return sorted(self.a.trained.keys() | self.b.trained.keys()) if torch.is_grad_enabled() else []

    def _room(self, former: Tensor, ranks: Sequence[int], dtypes: Iterable[torch.dtype]) -> Tensor:
        dtype = former.dtype if len(former) else torch.float32
        for other in dtypes:
            dtype = torch.promote_types(dtype, other)
        made = former.new_zeros(len(ranks), max(ranks, default=0), former.shape[-1], dtype=dtype)
        made[: len(former), : former.shape[1]] = former
        return made

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Bank:
        """Move or convert. Tensors derived from the tables stay on the former device, so they are dropped."""
        self._forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _forget(self) -> None:
        self._rounded.clear()
        self._zeroed = None

    def _adopt(self, a: Tensor, b: Tensor, ranks: Sequence[int], scales: Tensor, kept: Iterable[int]) -> None:
        places = {old: new for new, old in enumerate(kept)}
        self.ranks, self.scales = list(ranks), scales
        self._forget()
        self.a.replace(a, places)
        self.b.replace(b, places)
