"""One LoRA and its head, trained on one domain after the other, with and without a cure for forgetting.

It is a mixture of a single expert: same layers, rank, loop and loss as ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Learnt, Scores, Setting, scores_of
from benchmarks.workbench import detector_on
from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, logits_of
from molex_adapt.recipe import JointStage
from molex_adapt.run import Run
from molex_adapt.train.exemplars import divide_replay
from molex_adapt.train.loop import Fitted, ParameterGroup, Stage, fit
from molex_adapt.train.losses import detection_loss, development_loss, logits_and_loss
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.stages import (
    DEVELOPMENT,
    SHORTEST_CROP,
    TWIN_LOSS,
    append_expert,
    crop_frames,
    standardise_routers,
)


@dataclass
class Remembering:
    """Features, and the old model's logits of what is drawn from them."""

    features: Features
    logits: Tensor
    _drawn: list[Tensor] = field(default_factory=list)

    @property
    def bona_fide(self) -> Tensor:
        """Of the features."""
        return self.features.bona_fide

    @property
    def sources(self) -> Sequence[str]:
        """Of the features."""
        return self.features.sources

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Sequence[int], crop: int, places: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Of the features."""
        self._drawn.append(self.logits[list(indices)])
        return self.features.batch(indices, crop, places)

    def distance(self, logit: Tensor) -> Tensor:
        """Mean squared distance of a batch's logits, all drawn from here, to the old ones; scalar."""
        old, self._drawn = torch.cat(self._drawn), []
        return (logit - old.to(logit.device)).square().mean()


class OneLora:
    """The common part; what sets a method apart are its options.

    Args:
        setting: of the run.
        replay: utterances kept of all old domains together.
        ewc: weight of elastic weight consolidation (Kirkpatrick et al., arXiv 1612.00796).
        lwf: weight of the old model's scores on the new data (learning without forgetting, arXiv 1606.09282).
        lora: train the LoRA; else the head alone.
    """

    def __init__(
        self, setting: Setting, *, replay: int = 0, ewc: float = 0.0, lwf: float = 0.0, lora: bool = True
    ) -> None:
        self.setting = setting
        self.replay, self.ewc, self.lwf, self.lora = replay, ewc, lwf, lora
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)
        append_expert(self.detector, "lora", setting.recipe, setting.seed)
        self.kept: dict[str, Features] = {}
        self.anchor: list[Tensor] = []
        self.importance: list[Tensor] = []
        self.steps = 0

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Train on from where the last domain left it."""
        torch.manual_seed(self.setting.seed + self.steps)
        train = data.train
        assert isinstance(train, Features)
        pools, development = [self._new_pool(train)], [data.dev]
        for features in self.kept.values():
            heard, measured = divide_replay(features)
            pools.append(Pool(heard, 1.0 / len(self.kept)))
            development.append(measured)
        self._fit(pools, development)
        if not self.steps:
            calibrate(self.detector, data.dev)
        self._consolidate(train)
        self._keep(name, train)
        self.steps += 1
        trainable = sum(weight.numel() for weight in self._weights())
        kept = sum(clip.numel() * clip.element_size() for item in self.kept.values() for clip in item.clips)
        # One set of weights serves all domains: only the first step adds to what is stored.
        return Learnt(trainable, 2 * trainable * (self.steps == 1), kept // self.steps)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)

    def _new_pool(self, train: Features) -> Pool:
        if self.lwf and self.steps:
            return Pool(Remembering(train, logits_of(self.detector, train)), 1.0)
        return Pool(train, 1.0)

    def _weights(self) -> list[torch.nn.Parameter]:
        lora = self.detector.mixture.expert_parameters("lora") if self.lora else []
        return [*lora, *self.detector.head.parameters()]

    def _fit(self, pools: list[Pool], development: list[Features]) -> Fitted:
        def loss(batch: Batch) -> Tensor:
            logit, value = logits_and_loss(self.detector, batch, TWIN_LOSS)
            for clips in (pool.clips for pool in pools):
                if isinstance(clips, Remembering):
                    value = value + self.lwf * clips.distance(logit)
            for weight, anchor, importance in zip(
                self._weights(), self.anchor, self.importance, strict=False
            ):
                value = value + self.ewc / 2 * (importance * (weight - anchor).square()).sum()
            return value

        lora = self.detector.mixture.expert_parameters("lora") if self.lora else None
        if not self.steps:
            standardise_routers(self.detector, pools)
        return fit_weights(self.setting, self.detector, lora, pools, development, loss, self.steps)

    def _consolidate(self, train: Features) -> None:
        """Add this domain's diagonal Fisher information, from 64 utterances, to the importance of every weight."""
        if not self.ewc:
            return
        weights, sampler = (
            self._weights(),
            Sampler([Pool(train, 1.0)], 2, crop_frames(self.setting.recipe), 0),
        )
        found = [torch.zeros_like(weight) for weight in weights]
        for weight in weights:
            weight.requires_grad_(True)
        for _ in range(32):
            batch = sampler.draw(self.detector.device)
            logit = self.detector.logit(batch.features, batch.frames)
            for at in range(len(logit)):
                own = detection_loss(logit[at : at + 1], batch.bona_fide[at : at + 1])
                gradients = torch.autograd.grad(own, weights, retain_graph=True)
                for total, gradient in zip(found, gradients, strict=True):
                    total += gradient.square() / 64
        for weight in weights:
            weight.requires_grad_(False)
        former = self.importance or [torch.zeros_like(weight) for weight in weights]
        self.importance = [old + new for old, new in zip(former, found, strict=True)]
        self.anchor = [weight.detach().clone() for weight in weights]

    def _keep(self, name: str, train: Features) -> None:
        """Make room, so that every domain and class keeps its equal part of the memory."""
        if not self.replay:
            return
        each = self.replay // (2 * (len(self.kept) + 1))
        self.kept[name] = train.cut(self.setting.recipe.data.crop_seconds)
        for old, features in self.kept.items():
            rows = [at for label in (True, False) for at in features.of_class(label)[:each]]
            self.kept[old] = features.pick(rows)


class Joint:
    """The upper bound: one LoRA and its head on all domains together, with the steps of the whole sequence."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.seen: dict[str, DomainData] = {}
        self.detector = detector_on(setting.base, setting.recipe, setting.seed)

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Collect; train when everything is there, and after the first domain, for its calibration and threshold."""
        self.seen[name] = data
        everything = len(self.seen) == self.setting.domains
        if everything or len(self.seen) == 1:
            self._train(len(self.seen))
        weights = [*self.detector.mixture.expert_parameters("lora"), *self.detector.head.parameters()]
        assert isinstance(data.train, Features)
        kept = sum(clip.numel() * clip.element_size() for clip in data.train.clips)
        trainable = sum(weight.numel() for weight in weights)
        return Learnt(trainable, 2 * trainable * (len(self.seen) == 1) + kept, kept)

    def _train(self, times: int) -> None:
        calibration = self.detector.calibration
        self.detector = detector_on(self.setting.base, self.setting.recipe, self.setting.seed)
        append_expert(self.detector, "lora", self.setting.recipe, self.setting.seed)
        self.detector.calibration = calibration
        torch.manual_seed(self.setting.seed)
        pools = [Pool(data.train, 1.0) for data in self.seen.values()]
        standardise_routers(self.detector, pools)
        lora = self.detector.mixture.expert_parameters("lora")
        development = [data.dev for data in self.seen.values()]

        def loss(batch: Batch) -> Tensor:
            return logits_and_loss(self.detector, batch, TWIN_LOSS)[1]

        fit_weights(self.setting, self.detector, lora, pools, development, loss, 0, times)
        if times == 1:
            calibrate(self.detector, development[0])

    def scores(self, measured: Measured) -> Scores:
        """Calibrated."""
        return scores_of(self.detector, measured)


def fit_weights(
    setting: Setting,
    detector: Detector,
    lora: list[torch.nn.Parameter] | None,
    pools: list[Pool],
    development: list[Features],
    loss: object,
    number: int,
    times: int = 1,
    head: bool = True,
) -> Fitted:
    """The package's own loop over a LoRA and a head, at the recipe's joint rates and `times` its steps."""
    recipe = setting.recipe
    options: JointStage = recipe.joint.model_copy(update={"steps": times * recipe.joint.steps})
    groups = [ParameterGroup(lora, options.learning_rate)] if lora is not None else []
    if head:
        groups.append(ParameterGroup(list(detector.head.parameters()), options.learning_rate))
    crop = crop_frames(recipe)
    sampler = Sampler(
        pools, recipe.training.batch_size, crop, setting.seed + number, round(SHORTEST_CROP * crop)
    )
    develop = development_loss(
        detector,
        [item.cut(2 * recipe.data.crop_seconds) for item in development],
        DEVELOPMENT,
        [pool.share for pool in pools],  # one pool a development set, in the same order
    )
    stage = Stage("lora", groups, sampler, loss, develop, options, times * recipe.training.patience)  # type: ignore[arg-type]
    return fit(detector, stage, Run(seed=setting.seed + number, progress=setting.progress))


def calibrate(detector: Detector, development: Features) -> None:
    """Fit the detector's calibration; scores that do not separate stay as they are."""
    logits, labels = logits_of(detector, development).double().numpy(), development.bona_fide.numpy()
    try:
        detector.calibration = Calibration.fit(logits[labels], logits[~labels])
    except DataError:
        return
