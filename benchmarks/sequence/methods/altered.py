"""Ours with another structure: what the product would have to be built for, had it won."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.sequence.methods.base import Learnt, Setting
from benchmarks.sequence.methods.ours import Ours
from molex_adapt.detector import Detector
from molex_adapt.mixture import Router, Routing
from molex_adapt.train.prepare import DomainData


class SharedExpert(Ours):
    """The first expert is always on; the routers choose among the others, which start fresh on top of it."""

    def __init__(self, setting: Setting) -> None:
        recipe = setting.recipe
        expert = recipe.expert.model_copy(update={"start": "fresh"})
        super().__init__(replace(setting, recipe=recipe.model_copy(update={"expert": expert})))
        for router in self.detector.mixture.routers:
            router.__class__ = AlwaysOn


class FirstReads(Ours):
    """All routers read what the first one reads, which no expert has touched: what is read never drifts."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        first, *others = self.detector.mixture.routers
        for router in (first, *others):
            router.__class__ = ReadsOf
            vars(router)["origin"] = first


class HeadPerExpert(Ours):
    """Every expert brings a head of its own, a copy of the one before that trains with it; gates mix their logits."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.detector.head = Heads(self.detector)  # type: ignore[assignment]

    def learn(self, name: str, data: DomainData) -> Learnt:
        """As ours; what a head takes is stored every time."""
        first = not self.old
        learnt = super().learn(name, data)
        head = sum(weight.numel() for weight in self.detector.head.parameters())
        return learnt if first else replace(learnt, stored=learnt.stored + 2 * head)


class AlwaysOn(Router):
    """Expert 0 acts at full strength, besides the top k of the others."""

    def forward(self, x: Tensor, mask: Tensor) -> Routing:
        """As `Router.forward`; with K + 1 experts, whose gates sum to 2."""
        found = super().forward(x, mask)
        others = found.logits[..., 1:]
        if self.forced is not None or not others.shape[-1]:
            return found
        if self.training and self.options.noise > 0:
            others = others + self.options.noise * torch.randn_like(others)
        values, chosen = others.topk(min(self.options.top_k, others.shape[-1]), dim=-1)
        weights = values.softmax(-1)
        return Routing(
            torch.cat([torch.zeros_like(chosen[..., :1]), chosen + 1], dim=-1),
            torch.cat([torch.ones_like(weights[..., :1]), weights], dim=-1),
            found.logits,
        )


class ReadsOf(Router):
    """Reads what `origin` read just before, in the same batch."""

    origin: ReadsOf
    last: Tensor

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """As `Router.read`, of the first block."""
        if self.origin is self:
            self.last = super().read(x, mask)
        return self.origin.last


class Heads(nn.Module):
    """A head per expert; logits are mixed by each utterance's gates, averaged over frames and blocks.

    `parameters` are the newest head's alone: the others are frozen.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.heads = nn.ModuleList([detector.head])
        vars(self)["detector"] = detector

    @property
    def classify(self) -> nn.Module:
        """The newest head's last layer, by which the detector knows its device."""
        return self._all()[-1].classify  # type: ignore[return-value]

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Of the newest head."""
        return self._all()[-1].parameters(recurse)

    def forward(self, states: list[Tensor], mask: Tensor) -> Tensor:
        """As `Head.forward`."""
        weight = mask[..., None].float()
        gates = [routing.gates for routing in self.detector.mixture.routings]  # type: ignore[union-attr]
        means = [
            gate[:, 0] if gate.shape[1] == 1 else (gate * weight).sum(1) / weight.sum(1) for gate in gates
        ]
        mixed = torch.stack(means).mean(0)
        logits = torch.stack([head(states, mask) for head in self._all()], dim=-1)
        return (mixed * logits).sum(-1)

    def _all(self) -> nn.ModuleList:
        while len(self.heads) < len(self.detector.mixture.names):  # type: ignore[union-attr,arg-type]
            self.heads.append(copy.deepcopy(self.heads[-1]))
        return self.heads
