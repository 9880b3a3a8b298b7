"""LoRA experts on one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from molex_adapt.errors import ExpertError

ExpertWeights: TypeAlias = dict[str, Tensor]
"""`<module path>.lora_A` (R, D_in) and `<module path>.lora_B` (D_out, R), for every adapted layer of one expert."""


@dataclass(frozen=True)
class ExpertSpec:
    """What an expert is, besides its weights.

    Attributes:
        name: unique in a mixture.
        rank: R.
        alpha: LoRA's alpha; the update is scaled by alpha / rank.
    """

    name: str
    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank


class ExpertLinear(nn.Module):
    """A frozen linear layer with the gated updates of E experts.

    The rank-r activations of all experts are one product, scaled by the gates, and multiplied once by the concatenated
    B: a (tokens x experts x d_out) tensor is never built.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.a = nn.ParameterList()
        self.b = nn.ParameterList()
        self.scales: list[float] = []
        self.gates: Tensor | None = None
        """(B, 1, E) or (B, F, E), set by the block's router just before this layer runs."""

    @property
    def weight(self) -> Tensor:
        """The frozen weight, for code that reads it past `forward`."""
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias, likewise."""
        return self.linear.bias

    def add(self, spec: ExpertSpec, generator: torch.Generator | None = None) -> None:
        """Append an expert that changes nothing yet: A ~ N(0, 1 / D_in), B = 0."""
        weight = self.linear.weight
        deviation = 1 / math.sqrt(self.linear.in_features)
        a = torch.randn(spec.rank, self.linear.in_features, generator=generator) * deviation
        self.a.append(nn.Parameter(a.to(weight.device)))
        self.b.append(nn.Parameter(torch.zeros(self.linear.out_features, spec.rank, device=weight.device)))
        self.scales.append(spec.scale)

    def remove(self, index: int) -> None:
        """Drop the expert at `index`."""
        self.a = nn.ParameterList([weight for at, weight in enumerate(self.a) if at != index])
        self.b = nn.ParameterList([weight for at, weight in enumerate(self.b) if at != index])
        del self.scales[index]

    def load(self, index: int, a: Tensor, b: Tensor) -> None:
        """Set the weights of the expert at `index`.

        Raises:
            ExpertError: a shape does not fit this layer.
        """
        for name, own, given in (("lora_A", self.a[index], a), ("lora_B", self.b[index], b)):
            if own.shape != given.shape:
                raise ExpertError(
                    f"{name} has shape {tuple(given.shape)}, this layer needs {tuple(own.shape)}; "
                    "the expert was trained with another rank or on another base"
                )
            with torch.no_grad():
                own.copy_(given)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D_in) to (B, F, D_out)."""
        output: Tensor = self.linear(x)
        if self.gates is None or not self.scales:
            return output
        a, b, owner, scale = self._concatenated(x.device)
        low = nn.functional.linear(x, a)
        gates = (self.gates * scale).index_select(-1, owner)
        return output + nn.functional.linear(low * gates.to(low.dtype), b)

    def _concatenated(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All A (ΣR, D_in), all B (D_out, ΣR), the expert of every rank (ΣR,), the scale of every expert (E,)."""
        ranks = torch.tensor([len(weight) for weight in self.a])
        owner = torch.repeat_interleave(torch.arange(len(ranks)), ranks).to(device)
        scale = torch.tensor(self.scales, device=device)
        return torch.cat(list(self.a)), torch.cat(list(self.b), dim=1), owner, scale
