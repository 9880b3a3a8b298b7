"""A LoRA for every task, chosen for each recording by a router that is solved in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.analytic import RandomFeatures, Recursion, raw_readings
from benchmarks.sequence.methods.base import Known, Learnt, Scores, Setting
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.state import State, bytes_of, take_up, within
from molex_adapt.features import Features, logits_of
from molex_adapt.train.prepare import DomainData

RIDGE = 100.0
"""As in the authors' published code (github.com/ZHUANGHP/Any-SSR)."""


class AnySsr:
    """Any-SSR, analytic subspace routing (Tong et al., arXiv 2503.13575): a domain is a task.

    A LoRA is trained for each task alone, and a ridge regression from expanded frozen features to the task, learnt by
    recursive least squares, sends every recording to the LoRA of the likeliest task. Bona fide speech belongs to the
    domain that it comes with, as a prompt does to its task.

    What differs: the paper's tasks share the language model's head, while a LoRA here has a head of its own, and a
    calibration by its own development split; the router reads what the readout reads (pooled states of all layers, and
    statistics of the spectrum) instead of the mean over the fourth layer's states; it expands them to 2,000 random
    features, rectified, instead of 10,000 without. The rank of each LoRA is that of `OneLora`, as one acts at a time.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.method = OneLora(setting)
        self.tasks: list[State] = []
        self.random = RandomFeatures(setting.seed)
        self.router = Recursion.none(RIDGE, self.random.size)

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train the task's LoRA, then teach the router."""
        former = bytes_of(self._routing()) if self.tasks else 0
        self.method = OneLora(self.setting)
        own = self.method.learn(name, data)
        self.tasks.append(self.method.state())
        assert isinstance(data.train, Features)
        raw = raw_readings(self.method.detector, data.train)
        self.random.standardise(raw)
        task = torch.full((len(raw),), len(self.tasks) - 1)
        self.router.learn(self.random(raw), F.one_hot(task, len(self.tasks)).double())
        routing = bytes_of(self._routing()) - former
        return Learnt(own.trainable + self.router.weights.numel(), own.stored + routing, own.kept)

    def scores(self, measured: Measured) -> Scores:
        """Of the task that each recording is sent to, by that one's calibration."""
        features, detector = measured.features, self.method.detector
        chosen = self.routed(features)
        found = np.zeros(len(features))
        for number, task in enumerate(self.tasks):
            rows = np.flatnonzero(chosen == number)
            if len(rows):
                take_up(detector, task, detector.mixture.specs)
                logits = logits_of(detector, features.pick(rows.tolist())).double().numpy()
                found[rows] = detector.calibration.apply(logits)
        return found

    def routed(self, features: Features) -> np.ndarray:
        """(N,) the number of the task that each recording is sent to."""
        values = self.random(raw_readings(self.method.detector, features)) @ self.router.weights
        return np.asarray(values.argmax(1).numpy())

    def state(self) -> State:
        """All tasks' LoRA and heads, and the router."""
        tasks = {
            f"task.{number}.{name}": value
            for number, task in enumerate(self.tasks)
            for name, value in task.items()
        }
        return tasks | self._routing()

    def go_on(self, state: State, learnt: Known) -> None:
        """After these domains."""
        self.tasks = [within(state, f"task.{number}.") for number in range(len(learnt))]
        self.router.go_on(within(state, "router."))
        self.random.go_on(within(state, "random."))

    def _routing(self) -> State:
        parts = {"router": self.router.state(), "random": self.random.state()}
        return {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
