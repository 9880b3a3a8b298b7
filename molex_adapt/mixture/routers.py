"""The router of one block: it decides which experts act, and how strongly.

Source: noisy top-k gating and the load-balancing loss from Shazeer et al. (arXiv 1701.06538) and Fedus et al. (arXiv
2101.03961); the standardised input is ours.

Shapes: N frames, or 1 where one decision holds for the whole utterance.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molex_adapt.chance import normal_like
from molex_adapt.conventions import CLOSED_GATE
from molex_adapt.mixture.stack import Stack
from molex_adapt.recipe import RouterOptions

Heirs: TypeAlias = Literal["others", "none"]
"""Who takes the gates of an expert that is switched off: the others, as if it had never been there, or nobody."""

_NOTHING = 1e-6
"""Gates below that adapt nothing that anybody could hear."""


@dataclass(frozen=True)
class Routing:
    """One block's decision for a batch; N is 1 for utterance routing and F for frame routing.

    Attributes:
        chosen: (B, N, K) int64, the experts that act.
        weights: (B, N, K), their gates, which sum to 1; to less where there is a rest, or an expert is switched off and
            nobody takes its gates.
        logits: (B, N, E), without noise.
        rest: whether the frozen base takes a share beside the experts; see `Router`.
        spread: the gates as the block's layers multiply by them, kept here by the first layer for the others.
    """

    chosen: Tensor
    weights: Tensor
    logits: Tensor
    rest: bool = False
    spread: dict[Hashable, Tensor] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def gates(self) -> Tensor:
        """(B, N, E), zero for experts outside the top k, each row summing to 1, with a rest to 1 at most."""
        return torch.zeros_like(self.logits).scatter(-1, self.chosen, self.weights)

    @cached_property
    def acting(self) -> Tensor:
        """(B, N, E), 1 for experts that act. Where others are closed, the top k hold some that get nothing."""
        return (self.gates > _NOTHING).to(self.gates.dtype)

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, N, E), the softmax over all experts and the rest, before top-k."""
        return shares_of(self.logits, self.rest)


class Router(nn.Module):
    """Linear gate logits of the standardised routing input, and a softmax over the top k.

    With a `rest` the frozen base is one of those that share: its gate logit is always 0, and its share adapts nothing.
    Where no expert's gate opens, the block is as it was frozen. Without a rest the experts share everything.

    Attributes:
        rows: per expert (D + 1,): its weights, and its bias at the end.
        centre, spread: (D,) mean and standard deviation of the routing input, fixed when the first experts train.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, width: int, options: RouterOptions, rest: bool = False) -> None:
        super().__init__()
        self.width = width
        self.options = options
        self.rest = rest
        self.rows = Stack(torch.zeros(0, width + 1), lambda table, at: table[at])
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.forced: int | None = None
        """The expert that takes every utterance; None to route as usual."""
        self.off: tuple[int, Heirs] | None = None
        """The expert that is switched off, and who takes its gates; None to route as usual."""

    @torch.no_grad()
    def add(self, row: Tensor | None = None) -> None:
        """Append an expert's row (D + 1,). Without one it is the mean of the rows that act, or zero."""
        former = self.rows.table
        if row is None:
            acting = former[~self.withdrawn]
            row = acting.mean(0) if len(acting) else former.new_zeros(self.width + 1)
        self.extend(row[None])

    @torch.no_grad()
    def extend(self, rows: Tensor) -> None:
        """Append the rows (E, D + 1) of several experts."""
        former = self.rows.table
        self.rows.replace(torch.cat([former, rows.to(former)]), {at: at for at in range(len(former))})

    @torch.no_grad()
    def take_back(self, rows: Tensor) -> None:
        """Give the first experts the rows (E, D + 1) that they had."""
        self.rows.table[: len(rows)].copy_(rows)

    @torch.no_grad()
    def withdraw(self, index: int) -> None:
        """Close an expert's gate: its share becomes 1e-13 at most, and the others route as if it were not there."""
        self.rows[index][-1] -= CLOSED_GATE * self.width**0.5  # logits are divided by the root of the width

    @property
    def withdrawn(self) -> Tensor:
        """(E,) bool, whether an expert's gate was closed by `withdraw`."""
        biases: Tensor = self.rows.table[:, -1]
        closed: Tensor = biases < -CLOSED_GATE / 2 * self.width**0.5
        return closed

    def remove(self, index: int) -> None:
        """Drop the row at `index`."""
        kept = [at for at in range(len(self.rows)) if at != index]
        self.rows.replace(self.rows.table[kept], {old: new for new, old in enumerate(kept)})

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """The router's input before standardisation: (B, F, D) block states to (B, N, D)."""
        if self.options.routing == "frame":
            return x
        weight = mask[..., None].to(x.dtype)
        return (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)

    def standardised(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) that gate logits are made of: `read`, with mean 0 and deviation 1 as the first experts learnt."""
        found: Tensor = (self.read(x, mask).float() - self.centre) / self.spread
        return found

    def forward(self, x: Tensor, mask: Tensor) -> Routing:
        """Decide for a batch, from (B, F, D) inputs of the block's feed-forward and (B, F) valid frames."""
        read = self.standardised(x, mask)
        rows = self.rows.differentiable()
        # Half precision would swap experts with nearly equal logits.
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(read, rows[:, :-1], rows[:, -1]) / self.width**0.5
        if self.forced is not None:
            shape = (*logits.shape[:2], 1)
            chosen = torch.full(shape, self.forced, device=x.device)
            return Routing(chosen, logits.new_ones(shape), logits, self.rest)
        # Noise lets experts near the top k be tried in training. Gates follow the noisy logits, so that they learn too;
        # losses on the routing itself use the logits without noise.
        noisy = logits
        if self.training and self.options.noise > 0:
            noisy = logits + self.options.noise * normal_like(logits)
        if self.off is None:
            values, chosen = noisy.topk(min(self.options.top_k, len(rows)), dim=-1)
            return Routing(chosen, shares_of(values, self.rest), logits, self.rest)
        return self._without(noisy, *self.off)

    def _without(self, logits: Tensor, off: int, heirs: Heirs) -> Routing:
        """Route (B, N, E) gate logits with one expert switched off."""
        count = min(self.options.top_k, logits.shape[-1])
        if heirs == "others":
            # Made on the device: an index that is sent there would wait for it.
            own = torch.arange(logits.shape[-1], device=logits.device) == off
            logits = logits.masked_fill(own, -torch.inf)
            count = max(1, min(count, logits.shape[-1] - 1))
        values, chosen = logits.topk(count, dim=-1)
        weights = shares_of(values, self.rest).masked_fill(chosen == off, 0.0)
        return Routing(chosen, weights, logits, self.rest)


def contenders(logits: Tensor, rest: bool) -> Tensor:
    """(..., E) gate logits to (..., E + 1) with that of the rest at the end; (..., E) where there is none."""
    return F.pad(logits, (0, 1)) if rest else logits


def shares_of(logits: Tensor, rest: bool) -> Tensor:
    """(..., E) gate logits to the shares (..., E) of the experts, which leave that of the rest.

    Closed gates have next to none. Without a rest they would have everything where there are no others.
    """
    shares = contenders(logits, rest).softmax(-1)[..., : logits.shape[-1]]
    return shares if rest else shares.masked_fill(logits < -CLOSED_GATE / 2, 0.0)


def utterance_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, E) of one block to (B, E), over the valid frames of (B, F) `mask` where N is F."""
    if values.shape[1] == 1:
        return values[:, 0]
    mean: Tensor = (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return mean


def load_balance(routing: Routing, mask: Tensor, able: Tensor) -> Tensor:
    """Load-balancing loss, scalar: 1 when all experts get equal shares, and up to E when one gets everything.

    Counted are those that can act, (E,) bool `able`; a withdrawn one gets nothing, which is no imbalance.

    Beside a rest the shares are those that it leaves, so that the loss holds the gates back as well.

    Which experts were chosen has no gradient; the probability before top-k has. Their product lets the loss push down
    the probability of experts that were chosen too often.
    """
    weight = mask[..., None].to(routing.gates.dtype) if routing.gates.shape[1] > 1 else 1.0
    count = mask.sum() if routing.gates.shape[1] > 1 else routing.gates.shape[0]
    chosen = (routing.acting * weight).sum((0, 1)) / count
    probability = (routing.probabilities * weight).sum((0, 1)) / count
    return able.sum() * (chosen / chosen.sum().clamp(min=1e-6) * probability).sum()
