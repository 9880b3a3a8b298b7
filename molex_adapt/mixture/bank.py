"""The weights of many experts on one layer in two tensors, with every expert's own matrices as views of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Bank(nn.Module):
    """LoRA matrices of E experts, ranks padded by zeros to the largest.

    Attributes:
        a, b: per expert, (R_e, D_in) and (D_out, R_e); they share their memory with the stacked tensors, so whoever
            changes one changes both.
        stacked_a, stacked_b: (E, R, D_in) and (E, R, D_out).
        scales: (E,) alpha / rank.
    """

    stacked_a: Tensor
    stacked_b: Tensor
    scales: Tensor

    def __init__(self, inputs: int, outputs: int, device: torch.device) -> None:
        super().__init__()
        self.a = nn.ParameterList()
        self.b = nn.ParameterList()
        self.register_buffer("stacked_a", torch.zeros(0, 0, inputs, device=device), persistent=False)
        self.register_buffer("stacked_b", torch.zeros(0, 0, outputs, device=device), persistent=False)
        self.register_buffer("scales", torch.zeros(0, device=device), persistent=False)
        self._rounded: dict[torch.dtype, tuple[tuple[int, int], Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.a)

    @property
    def rank(self) -> int:
        """R, the largest rank."""
        return int(self.stacked_a.shape[1])

    @torch.no_grad()
    def extend(self, matrices: Sequence[tuple[Tensor, Tensor]], scales: Sequence[float]) -> None:
        """Append experts: A (R_e, D_in), B (D_out, R_e) and alpha / rank of each."""
        self._restack([*zip(self.a, self.b, strict=True), *matrices])
        self.scales = torch.cat([self.scales, torch.tensor(scales, device=self.scales.device)])

    @torch.no_grad()
    def remove(self, index: int) -> None:
        """Drop the expert at `index`."""
        kept = [at for at in range(len(self)) if at != index]
        self._restack([(self.a[at], self.b[at]) for at in kept])
        self.scales = self.scales[kept]

    def stacked(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both stacked tensors in another type; kept until an expert changes."""
        if dtype == self.stacked_a.dtype:
            return self.stacked_a, self.stacked_b
        version = (self.stacked_a._version, self.stacked_b._version)
        found = self._rounded.get(dtype)
        if found is None or found[0] != version:
            found = version, self.stacked_a.to(dtype), self.stacked_b.to(dtype)
            self._rounded[dtype] = found
        return found[1:]

    def trained(self) -> list[int]:
        """Experts that gradients are wanted for."""
        if not torch.is_grad_enabled():
            return []
        pairs = zip(self.a, self.b, strict=True)
        return [at for at, (a, b) in enumerate(pairs) if a.requires_grad or b.requires_grad]

    def _restack(self, matrices: Sequence[tuple[Tensor, Tensor]]) -> None:
        ranks = [len(a) for a, _ in matrices]
        shape = (len(ranks), max(ranks, default=0))
        a = self.stacked_a.new_zeros(*shape, self.stacked_a.shape[-1])
        b = self.stacked_b.new_zeros(*shape, self.stacked_b.shape[-1])
        for at, (own_a, own_b) in enumerate(matrices):
            a[at, : ranks[at]] = own_a
            b[at, : ranks[at]] = own_b.T
        self._adopt(a, b, ranks, [(own_a.requires_grad, own_b.requires_grad) for own_a, own_b in matrices])

    def _adopt(self, a: Tensor, b: Tensor, ranks: Sequence[int], wanted: Sequence[tuple[bool, bool]]) -> None:
        self.stacked_a, self.stacked_b = a, b
        self._rounded.clear()
        pairs = list(enumerate(zip(ranks, wanted, strict=True)))
        self.a = nn.ParameterList([nn.Parameter(a[at, :rank], grad) for at, (rank, (grad, _)) in pairs])
        self.b = nn.ParameterList([nn.Parameter(b[at, :rank].T, grad) for at, (rank, (_, grad)) in pairs])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Bank:
        """Move or convert; the views follow."""
        ranks = [len(own) for own in self.a]
        wanted = [(a.requires_grad, b.requires_grad) for a, b in zip(self.a, self.b, strict=True)]
        self.a, self.b = nn.ParameterList(), nn.ParameterList()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._adopt(self.stacked_a, self.stacked_b, ranks, wanted)
        return self
