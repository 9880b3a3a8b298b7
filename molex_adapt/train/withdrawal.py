"""The new generation without its expert: what stands where the expert would do harm."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run
from molex_adapt.train.acceptance import DomainScores, score_sets
from molex_adapt.train.calibrate import DevelopmentScores
from molex_adapt.train.judgement import Adapted, compare_all, recalibrate, timed
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, told_to_experts, weigh_readout


@dataclass(frozen=True)
class ReadoutAlone:
    """The mixture as it was, with a readout that has learnt the new domain: what is left without the expert.

    Attributes:
        told: (N,) what it adds to the logits of the training recordings, as if it had not learnt from each; None where
            it has not read all of them.
    """

    head: dict[str, torch.Tensor]
    calibration: Calibration
    remarks: list[str]
    scored: dict[str, DomainScores]
    told: torch.Tensor | None

    @classmethod
    def learn(
        cls,
        detector: Detector,
        name: str,
        data: DomainData,
        development: list[Features],
        recipe: Recipe,
        run: Run,
        before: DevelopmentScores,
        sets: Mapping[str, Features],
        result: Adapted,
    ) -> ReadoutAlone | None:
        """Let the readout learn, weigh it, calibrate and measure; None where there is no readout, or nothing learnt."""
        started = time.monotonic()
        learnt = learn_readout(detector, {name: data}, run)
        remarks = learnt.remarks
        readout = detector.head.readout
        if readout is None or not readout.has_learnt:
            result.remarks += remarks
            return None
        remarks += weigh_readout(detector, development)
        result.seconds["readout"] = time.monotonic() - started
        recalibrate(detector, development, recipe, result, before)
        scored = timed(result, lambda: score_sets(detector, sets))
        told = told_to_experts(detector, data, learnt.unheard.get(name))
        return cls(copy.deepcopy(detector.head.state_dict()), detector.calibration, remarks, scored, told)

    def take_over(
        self,
        detector: Detector,
        name: str,
        before: Mapping[str, DomainScores],
        domain: str,
        recipe: Recipe,
        result: Adapted,
    ) -> None:
        """Withdraw the expert if the readout alone is accepted; change nothing otherwise."""
        alone = Adapted(result.experts, result.threshold)
        compare_all(before, self.scored, domain, recipe, alone)
        if alone.refused:
            return
        detector.head.load_state_dict(self.head)
        detector.calibration = self.calibration
        detector.mixture.withdraw(name)
        result.before, result.after, result.changes = alone.before, alone.after, alone.changes
        result.real_speech, result.withdrawn = alone.real_speech, True
        result.remarks += [
            f"expert {name} is withdrawn: kept, with closed gates, for with it {'; '.join(result.refused)}",
            *self.remarks,
        ]
        result.refused = []
