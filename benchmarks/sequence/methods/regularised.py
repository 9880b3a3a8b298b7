"""One LoRA that is held back: by the importance of its weights, or by what it said before.

Neither keeps data. The active rank is that of `OneLora`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.sequence.methods.base import Known, Setting
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.remembering import Ledger
from benchmarks.sequence.methods.state import State, copied, within
from molex_adapt.features import Features, logits_of
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import crop_frames

_EXAMINED = 64
"""Utterances of a domain whose gradients make its Fisher information."""


class Ewc(OneLora):
    """Elastic weight consolidation (Kirkpatrick et al., arXiv 1612.00796, equation 3).

    The diagonal Fisher information of all domains is added up; the anchor is what the last one left, as in the online
    form of Schwarz et al. (arXiv 1805.06370) without its decay.
    """

    strength = 1000.0

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.anchor: list[Tensor] = []
        self.importance: list[Tensor] = []

    def penalty(self, logit: Tensor, batch: Batch) -> Tensor:
        """Half of the strength times the weighted squared way from the anchor."""
        total = logit.new_zeros(())
        for weight, anchor, importance in zip(self.weights(), self.anchor, self.importance, strict=False):
            total = total + (importance * (weight - anchor).square()).sum()
        return self.strength / 2 * total

    def conclude(self, name: str, data: DomainData) -> int:
        """Add the domain's Fisher information to the importance of every weight."""
        found = self._information(data)
        former = self.importance or [torch.zeros_like(weight) for weight in found]
        self.importance = [old + new for old, new in zip(former, found, strict=True)]
        self._anchor()
        return 0

    def own_state(self) -> State:
        """The importance; the anchor are the weights themselves."""
        return {str(at): copied(value) for at, value in enumerate(self.importance)}

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        super().go_on(state, learnt)
        own = within(state, "own.")
        self.importance = [own[str(at)].to(self.detector.device) for at in range(len(own))]
        self._anchor()

    def _anchor(self) -> None:
        self.anchor = [weight.detach().clone() for weight in self.weights()]

    def _information(self, data: DomainData) -> list[Tensor]:
        weights = self.weights()
        sampler = Sampler([Pool(data.train, 1.0)], 2, crop_frames(self.setting.recipe), 0)
        found = [torch.zeros_like(weight) for weight in weights]
        for weight in weights:
            weight.requires_grad_(True)
        for _ in range(_EXAMINED // 2):
            batch = sampler.draw(self.detector.device)
            logit = self.detector.logit(batch.features, batch.frames)
            for at in range(len(logit)):
                own = detection_loss(logit[at : at + 1], batch.bona_fide[at : at + 1])
                gradients = torch.autograd.grad(own, weights, retain_graph=True)
                for total, gradient in zip(found, gradients, strict=True):
                    total += gradient.square() / _EXAMINED
        for weight in weights:
            weight.requires_grad_(False)
        return [total.detach() for total in found]


class Lwf(OneLora):
    """Learning without forgetting (Li and Hoiem, arXiv 1606.09282): the old model's scores of the new data are kept to.

    They are held by their mean squared distance, as there is one logit and no softmax over classes to distil.
    """

    strength = 0.05

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ledger = Ledger()

    def pools(self, data: DomainData) -> list[Pool]:
        """The new domain, with what the model says of it before it learns."""
        if not self.steps:
            return super().pools(data)
        assert isinstance(data.train, Features)
        return [self.ledger.pool(data.train, 1.0, logits_of(self.detector, data.train))]

    def penalty(self, logit: Tensor, batch: Batch) -> Tensor:
        """The strength times the mean squared distance to the old logits."""
        return self.strength * self.ledger.distance(logit)
