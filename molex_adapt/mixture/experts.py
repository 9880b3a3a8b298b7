"""LoRA experts on one linear layer.

Shapes: N frames, or 1 where one decision holds for the whole utterance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

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

CONCATENATE_UP_TO = {
    ("cpu", torch.float32): 2,
    ("cpu", torch.bfloat16): 8,
    # A card's bfloat16 products are so fast that 256 experts cost less than starting the kernels that pick rows.
    ("cuda", torch.bfloat16): 64,
}
"""Frame routing: with at most this many experts per chosen one, a product over all of them is faster than picking rows.
By the device and the type that is computed in, and 2 for all others; measured on a CPU by `python -m benchmarks
crossover`."""


@dataclass(frozen=True)
class ExpertSpec:
    """What describes an expert besides its weights; its name is unique in the mixture."""

    name: str
    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank


class ExpertLinear(nn.Module):
    """A frozen linear layer with the gated updates of E experts; the block's router sets `routing` just before it runs.

    The cost of frozen experts is that of the chosen ones, however many there are: utterance routing gathers the experts
    of each utterance, frame routing picks the rows of each frame. Experts in training join that product whole, or are
    one of their own, with the gates inside, so that the backward pass scatters nothing. A (tokens x experts x d_out)
    tensor is never built, and no branch depends on a value on the device.
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
        """An expert that changes nothing yet: A ~ N(0, 1 / D_in), B = 0.

        With B = 0 the first gradient of A is zero and that of B is not, so B moves first.
        """
        deviation = 1 / math.sqrt(self.linear.in_features)
        a = torch.randn(spec.rank, self.linear.in_features, generator=generator) * deviation
        return a, torch.zeros(self.linear.out_features, spec.rank)

    def extend(self, specs: Sequence[ExpertSpec], matrices: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Append experts with their A (R, D_in) and B (D_out, R); ExpertError where a shape does not fit."""
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
        if self.routing is None or not len(self.bank):
            return cast(Tensor, self.linear(x))
        # Rounded once, for the frozen layer and for the experts: each would do it anew.
        x = x.to(_product_dtype(self.linear.weight))
        output: Tensor = self.linear(x)
        trained = self.bank.trained()
        if len(trained) == len(self.bank):
            return output + self._trained(x, self.routing, trained)
        if self.routing.chosen.shape[1] == 1:
            return self._gathered(output, x, self.routing, trained)
        output = self._by_frame(output, x, self.routing, trained)
        return output + self._trained(x, self.routing, trained) if trained else output

    def _by_frame(self, output: Tensor, x: Tensor, routing: Routing, trained: list[int]) -> Tensor:
        """Frame routing, the experts that are not in training: by the cheaper of two ways."""
        few = CONCATENATE_UP_TO.get((x.device.type, x.dtype), 2) * routing.chosen.shape[-1]
        # Picking rows takes kernels that no exchange format knows.
        if len(self.bank) <= few or torch.compiler.is_exporting():
            update = self._concatenated(x, self._gates(routing, trained, x.dtype, everyone=True))
        else:
            update = self._picked(x, routing.chosen, self._gates(routing, trained, x.dtype))
        return output + update if torch.is_grad_enabled() else output.add_(update)

    def _gates(
        self, routing: Routing, trained: list[int], dtype: torch.dtype, everyone: bool = False
    ) -> Tensor:
        """(B, N, K * R) gates of the chosen experts, or (B, N, E * R) of all, scaled; zero for those in training.

        A block's layers have the same experts, so the first of them computes the gates for the others.
        """
        key = (self.bank.rank, dtype, tuple(trained), everyone)
        if key not in routing.spread:
            scales = self.bank.scales_without(trained) if trained else self.bank.scales
            weights = routing.weights * scales[routing.chosen]
            if everyone:
                weights = torch.zeros_like(routing.logits).scatter(-1, routing.chosen, weights)
            routing.spread[key] = weights.to(dtype).repeat_interleave(self.bank.rank, dim=-1)
        return routing.spread[key]

    def _gathered(self, output: Tensor, x: Tensor, routing: Routing, trained: list[int]) -> Tensor:
        """Utterance routing: the chosen experts of each utterance, and all in training, in one product."""
        chosen = routing.chosen[:, 0]
        batch, flat = len(chosen), chosen.flatten()
        # A card keeps rounded tables; on a CPU they may be memory-mapped, and only what was chosen is read and rounded.
        tables = self.bank.stacked(x.dtype) if x.is_cuda else (self.bank.stacked_a, self.bank.stacked_b)
        a, b = (table.index_select(0, flat).to(x.dtype).view(batch, -1, table.shape[-1]) for table in tables)
        gates = self._gates(routing, trained, x.dtype)
        if trained:
            own_a, own_b, own_gates = self._in_training(routing, trained, x.dtype)
            a = torch.cat([a, own_a.expand(batch, -1, -1)], dim=1)
            b = torch.cat([b, own_b.expand(batch, -1, -1)], dim=1)
            gates = torch.cat([gates, own_gates], dim=-1)
        low = torch.bmm(x, a.mT) * gates
        # Autograd would copy the gradient of a view that was changed in place.
        return torch.baddbmm(output, low, b) if torch.is_grad_enabled() else output.baddbmm_(low, b)

    def _picked(self, x: Tensor, chosen: Tensor, gates: Tensor) -> Tensor:
        """Frame routing: (B, F, K) experts, (B, F, K * R) gates."""
        a, b = (table.flatten(0, 1) for table in self.bank.stacked(x.dtype))
        ranks = torch.arange(self.bank.rank, device=x.device)
        index = (chosen[..., None] * self.bank.rank + ranks).flatten(2).flatten(0, 1)
        low = dot_rows(x.flatten(0, 1), a, index)
        return sum_rows(b, index, low * gates.flatten(0, 1)).view(*x.shape[:2], -1)

    def _concatenated(self, x: Tensor, gates: Tensor) -> Tensor:
        """Frame routing with few experts, all of them in one product: (B, F, E * R) gates, zero for the others."""
        a, b = (table.flatten(0, 1) for table in self.bank.stacked(x.dtype))
        return (F.linear(x, a) * gates) @ b

    def _trained(self, x: Tensor, routing: Routing, trained: list[int]) -> Tensor:
        """The update of the experts in training, for all tokens."""
        a, b, gates = self._in_training(routing, trained, x.dtype)
        return (F.linear(x, a) * gates) @ b

    def _in_training(
        self, routing: Routing, trained: list[int], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The experts in training together: A (R, D_in), B (R, D_out), their gates (B, N, R), scaled.

        B lies with its few rows first: the gradient of the other layout would be many times slower on a CPU.
        """
        a = torch.cat([self.a[at] for at in trained])
        b = torch.cat([self.b[at].mT for at in trained])
        gates = torch.cat(
            [
                (routing.gates[..., at : at + 1] * self.bank.scales[at]).expand(-1, -1, len(self.a[at]))
                for at in trained
            ],
            dim=-1,
        )
        return a.to(dtype), b.to(dtype), gates.to(dtype)


def _product_dtype(weight: Tensor) -> torch.dtype:
    """What a product with this weight is computed in here and now."""
    device = weight.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if autocast else weight.dtype
