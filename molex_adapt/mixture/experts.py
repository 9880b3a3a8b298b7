"""LoRA experts on one linear layer.

Shapes: N frames, or 1 where one decision holds for the whole utterance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molex_adapt.errors import ExpertError
from molex_adapt.mixture.bank import Bank
from molex_adapt.mixture.products import dot_rows, sum_rows
from molex_adapt.mixture.routers import Routing
from molex_adapt.mixture.stack import Stack

ExpertWeights: TypeAlias = dict[str, Tensor]
"""`<module path>.lora_A` (R, D_in) and `<module path>.lora_B` (D_out, R), for every adapted layer of one expert."""

CONCATENATE_UP_TO = {torch.float32: 2, torch.bfloat16: 8}
"""With frame routing, experts per chosen expert up to which one product over all of them is faster than picking rows,
by the type computed in; measured by `python -m benchmarks crossover`."""


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

    Frozen experts cost what the chosen ones cost, however many there are: utterance routing gathers each utterance's
    experts, frame routing picks each frame's rows. Experts in training are one concatenated product, gates included, so
    that nothing is scattered on the way back. A (tokens x experts x d_out) tensor is never built, and no decision waits
    for a value on the device.

    Attributes:
        linear: frozen.
        bank: the experts' weights.
        routing: set by the block's router just before this layer runs.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.bank = Bank(linear.in_features, linear.out_features, linear.weight.device)
        self.routing: Routing | None = None

    @property
    def weight(self) -> Tensor:
        """The frozen weight, for code that reads it past `forward`."""
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias, likewise."""
        return self.linear.bias

    @property
    def a(self) -> Stack:
        """Per expert (R, D_in)."""
        return self.bank.a

    @property
    def b(self) -> Stack:
        """Per expert (D_out, R)."""
        return self.bank.b

    def fresh(self, spec: ExpertSpec, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """An expert that changes nothing yet: A ~ N(0, 1 / D_in), B = 0."""
        deviation = 1 / math.sqrt(self.linear.in_features)
        a = torch.randn(spec.rank, self.linear.in_features, generator=generator) * deviation
        return a, torch.zeros(self.linear.out_features, spec.rank)

    def extend(self, specs: Sequence[ExpertSpec], matrices: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Append experts with their A (R, D_in) and B (D_out, R).

        Raises:
            ExpertError: a shape does not fit this layer.
        """
        for spec, (a, b) in zip(specs, matrices, strict=True):
            needed = (spec.rank, self.linear.in_features), (self.linear.out_features, spec.rank)
            for name, own, given in zip(("lora_A", "lora_B"), needed, (a, b), strict=True):
                if own != tuple(given.shape):
                    raise ExpertError(
                        f"{name} has shape {tuple(given.shape)}, this layer needs {own}; "
                        "the expert was trained with another rank or on another base"
                    )
        self.bank.extend(matrices, [spec.scale for spec in specs])

    def remove(self, index: int) -> None:
        """Drop the expert at `index`."""
        self.bank.remove(index)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D_in) to (B, F, D_out)."""
        output: Tensor = self.linear(x)
        if self.routing is None or not len(self.bank):
            return output
        x = x.to(output.dtype)
        trained = self.bank.trained()
        if len(trained) < len(self.bank):
            weights = self._weights(self.routing, trained)
            if self.routing.chosen.shape[1] == 1:
                output = self._gathered(output, x, self.routing.chosen[:, 0], weights[:, 0])
            elif len(self.bank) <= CONCATENATE_UP_TO.get(x.dtype, 2) * self.routing.chosen.shape[-1]:
                output = self._concatenated(output, x, self.routing, weights)
            else:
                output = self._picked(output, x, self.routing.chosen, weights)
        if trained:
            output = output + self._trained(x, self.routing, trained)
        return output

    def _weights(self, routing: Routing, trained: list[int]) -> Tensor:
        """(B, N, K) gates of the chosen experts, scaled; zero for those in training."""
        scales = self.bank.scales_without(trained) if trained else self.bank.scales
        return routing.weights * scales[routing.chosen]

    def _gathered(self, output: Tensor, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Utterance routing: (B, K) experts and weights."""
        batch = len(chosen)
        flat = chosen.flatten()
        a = self.bank.stacked_a.index_select(0, flat).to(x.dtype).view(batch, -1, x.shape[-1])
        b = self.bank.stacked_b.index_select(0, flat).to(x.dtype).view(batch, -1, output.shape[-1])
        gates = weights.to(x.dtype).repeat_interleave(self.bank.rank, dim=1)
        return output.baddbmm_(torch.bmm(x, a.mT) * gates[:, None], b)

    def _picked(self, output: Tensor, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Frame routing: (B, F, K) experts and weights."""
        a, b = (table.flatten(0, 1) for table in self.bank.stacked(x.dtype))
        ranks = torch.arange(self.bank.rank, device=x.device)
        index = (chosen[..., None] * self.bank.rank + ranks).flatten(2).flatten(0, 1)
        gates = weights.to(x.dtype).flatten(0, 1).repeat_interleave(self.bank.rank, dim=1)
        low = dot_rows(x.flatten(0, 1), a, index)
        return output.add_(sum_rows(b, index, low * gates).view(output.shape))

    def _concatenated(self, output: Tensor, x: Tensor, routing: Routing, weights: Tensor) -> Tensor:
        """Frame routing over few experts: all of them at once."""
        a, b = (table.flatten(0, 1) for table in self.bank.stacked(x.dtype))
        dense = torch.zeros_like(routing.logits).scatter(-1, routing.chosen, weights)
        gates = dense.to(x.dtype).repeat_interleave(self.bank.rank, dim=-1)
        return output.add_((F.linear(x, a) * gates) @ b)

    def _trained(self, x: Tensor, routing: Routing, trained: list[int]) -> Tensor:
        """Experts in training, all tokens."""
        a = torch.cat([self.a[at] for at in trained])
        b = torch.cat([self.b[at] for at in trained], dim=1)
        gates = torch.cat(
            [
                (routing.gates[..., at : at + 1] * self.bank.scales[at]).expand(-1, -1, len(self.a[at]))
                for at in trained
            ],
            dim=-1,
        )
        return F.linear(F.linear(x, a.to(x.dtype)) * gates.to(x.dtype), b.to(x.dtype))
