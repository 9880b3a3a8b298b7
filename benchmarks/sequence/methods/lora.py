"""One LoRA and its head, trained on one domain after the other: what the cures for forgetting begin with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting, scores_of
from benchmarks.sequence.methods.state import State, bytes_of, state_of, take_up
from benchmarks.sequence.methods.training import equally_active, fit_weights
from benchmarks.workbench import detector_on
from molex_adapt.features import Features
from molex_adapt.train.calibrate import calibrate
from molex_adapt.train.losses import logits_and_loss
from molex_adapt.train.pools import Batch, Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import TWIN_LOSS, append_expert


class OneLora:
    """Fine-tuned in turn (`naive`): a mixture of one expert, with the layers, loop and loss of ours.

    Its rank is that of all experts that act together in ours (`equally_active`). Cures for forgetting override the
    methods that do nothing here.
    """

    trains_lora = True
    has_readout = False

    def __init__(self, setting: Setting) -> None:
        self.setting = equally_active(setting, self.has_readout)
        self.detector = detector_on(setting.base, self.setting.recipe, setting.seed)
        append_expert(self.detector, "lora", self.setting.recipe, setting.seed)
        self.steps = 0

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train on from where the last domain left it."""
        torch.manual_seed(self.setting.seed + self.steps)
        pools, development = self.pools(data), [data.dev, *self.remembered()]
        self.fit(pools, development)
        calibrate(self.detector, development)
        former = bytes_of(self.own_state())
        kept = self.conclude(name, data)
        self.steps += 1
        trainable = sum(weight.numel() for weight in self.weights())
        # One set of weights serves all domains: only the first step adds to what is stored.
        weights = 2 * trainable * (self.steps == 1)
        return Learnt(trainable, weights + bytes_of(self.own_state()) - former + kept, kept)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)

    def state(self) -> State:
        """The detector, and what a cure keeps beside it."""
        return state_of(self.detector) | {f"own.{name}": value for name, value in self.own_state().items()}

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        take_up(self.detector, state, self.detector.mixture.specs)
        self.steps = len(learnt)

    def weights(self) -> list[nn.Parameter]:
        """What moves."""
        lora = self.detector.mixture.expert_parameters("lora") if self.trains_lora else []
        return [*lora, *self.detector.head.parameters()]

    def fit(self, pools: list[Pool], development: list[Features]) -> None:
        """Train."""

        def loss(batch: Batch) -> Tensor:
            logit, value = logits_and_loss(self.detector, batch, TWIN_LOSS)
            return value + self.penalty(logit, batch)

        fit_weights(self.setting, self.detector, self.weights(), pools, development, loss, self.steps)

    def pools(self, data: DomainData) -> list[Pool]:
        """What is trained on: the new domain first."""
        return [Pool(data.train, 1.0)]

    def remembered(self) -> list[Features]:
        """Development sets of old domains, one for each of their pools."""
        return []

    def penalty(self, logit: Tensor, batch: Batch) -> Tensor:
        """What a cure adds to the loss of a batch with logits (B,); scalar."""
        return logit.new_zeros(())

    def conclude(self, name: str, data: DomainData) -> int:
        """What a cure does with a domain that was learnt. Returns the bytes of its data that are kept."""
        return 0

    def own_state(self) -> State:
        """What a cure keeps beside the detector, but data."""
        return {}
