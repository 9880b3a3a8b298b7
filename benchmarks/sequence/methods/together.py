"""All domains' data at hand: what learning one after the other is measured against.

Both train when everything is there, and after the first domain, for their calibration and threshold; in between their
scores are those of the first domain's training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting, scores_of
from benchmarks.sequence.methods.remembering import bytes_kept
from benchmarks.sequence.methods.state import State, state_of, take_up, trainable, weight_bytes
from benchmarks.sequence.methods.training import equally_active, fit_weights, lengthened
from benchmarks.workbench import detector_on
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec
from molex_adapt.run import Run
from molex_adapt.train.adapt import train_first
from molex_adapt.train.calibrate import calibrate
from molex_adapt.train.losses import logits_and_loss
from molex_adapt.train.pools import Batch, Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import TWIN_LOSS, append_expert


class _Together(ABC):
    """Collects the domains, and keeps all of their data."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.seen: dict[str, DomainData] = {}
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Collect, and train where it is time."""
        self.seen[name] = data
        former = weight_bytes(self.detector)
        if len(self.seen) in (1, self.setting.domains):
            self.detector = detector_on(self.setting.base, self.setting.recipe, self.setting.seed)
            self.train()
        assert isinstance(data.train, Features)
        kept = bytes_kept(data.train)
        return Learnt(trainable(self.detector), weight_bytes(self.detector) - former + kept, kept)

    @abstractmethod
    def train(self) -> None:
        """Learn all that was seen, with as many steps for each domain as others have."""

    @abstractmethod
    def specs(self, trained: Sequence[str]) -> list[ExpertSpec]:
        """The experts of the detector that was trained on these domains."""

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)

    def state(self) -> State:
        """The detector."""
        return state_of(self.detector)

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        self.seen = dict(learnt)
        trained = list(self.seen) if len(self.seen) == self.setting.domains else list(self.seen)[:1]
        take_up(self.detector, state, self.specs(trained))


class Joint(_Together):
    """The same mixture as ours, an expert for every domain and the readout if the recipe has one, trained jointly."""

    def train(self) -> None:
        """As `train` does with a data set of several attacks."""
        setting = self.setting
        recipe = lengthened(setting.recipe, len(self.seen))
        train_first(self.detector, self.seen, recipe, Run(seed=setting.seed, progress=setting.progress))

    def specs(self, trained: Sequence[str]) -> list[ExpertSpec]:
        """One for each."""
        lora = self.setting.recipe.lora
        return [ExpertSpec(name, lora.rank, lora.alpha) for name in trained]


class JointLora(_Together):
    """One LoRA and its head, with the active rank of ours (`equally_active`)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(equally_active(setting))

    def train(self) -> None:
        """On equal parts of all domains in every batch."""
        detector, recipe = self.detector, lengthened(self.setting.recipe, len(self.seen))
        append_expert(detector, "lora", recipe, self.setting.seed)
        torch.manual_seed(self.setting.seed)
        pools = [Pool(data.train, 1.0) for data in self.seen.values()]
        development = [data.dev for data in self.seen.values()]

        def loss(batch: Batch) -> Tensor:
            return logits_and_loss(detector, batch, TWIN_LOSS)[1]

        weights = [*detector.mixture.expert_parameters("lora"), *detector.head.parameters()]
        fit_weights(replace(self.setting, recipe=recipe), detector, weights, pools, development, loss)
        calibrate(detector, development)

    def specs(self, trained: Sequence[str]) -> list[ExpertSpec]:
        """The one."""
        return [ExpertSpec("lora", self.setting.recipe.lora.rank, self.setting.recipe.lora.alpha)]
