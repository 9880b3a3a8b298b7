"""The new generation without its expert: what stands where the expert brings nothing certain, or harm."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features
from molex_adapt.metrics import eer as equal_error_rate
from molex_adapt.recipe import AcceptanceOptions, Recipe
from molex_adapt.run import Run
from molex_adapt.train.acceptance import score_sets
from molex_adapt.train.calibrate import calibrate, score_development
from molex_adapt.train.former import Former
from molex_adapt.train.judgement import Adapted, compare_all, timed
from molex_adapt.train.losses import loss_of_each
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, told_to_experts

_CERTAIN = 0.95
"""Of a gain's interval; both of its tails."""
_FEWEST_VOICES = 4
"""Of fewer, Student's quantile would ask for more than any training brings."""
_NOTHING_CERTAIN = "its training brought nothing certain on the development split"
_WITHDRAWN = "expert {name} is withdrawn: kept, with closed gates, for {why}"


@dataclass(frozen=True)
class ReadoutAlone:
    """The mixture as it was, with a readout that has learnt the new domain: what is left without the expert.

    Attributes:
        head, calibration: as they are with it.
        rows: of every router before the new expert came.
        judged: every domain before and with it, and what speaks against it.
        losses: (N,) logistic losses of the new domain's development split, by a calibration of their own; nats.
        told: (N,) what it adds to the logits of the training recordings, as if it had not learnt from each; None where
            it has not read all of them.
    """

    head: dict[str, torch.Tensor]
    calibration: Calibration
    rows: list[torch.Tensor]
    judged: Adapted
    losses: NDArray[np.float64]
    told: torch.Tensor | None

    @classmethod
    def learn(
        cls,
        detector: Detector,
        name: str,
        data: DomainData,
        former: Former,
        recipe: Recipe,
        run: Run,
        result: Adapted,
    ) -> ReadoutAlone | None:
        """Let the readout learn, weigh it, calibrate and judge; None where there is no readout, or nothing learnt."""
        started = time.monotonic()
        learnt = learn_readout(detector, {name: data}, run)
        result.remarks += learnt.remarks
        readout = detector.head.readout
        if readout is None or not readout.has_learnt:
            return None
        judged = Adapted(result.experts, result.threshold)
        former.settle(detector, judged)
        result.seconds["readout"] = time.monotonic() - started
        timed(
            result,
            lambda: compare_all(
                former.scored, score_sets(detector, former.sets), former.domain, recipe, judged, former.voices
            ),
        )
        told = told_to_experts(detector, data, learnt.unheard.get(name))
        head = copy.deepcopy(detector.head.state_dict())
        rows = [router.rows.table.clone() for router in detector.mixture.routers]
        return cls(head, detector.calibration, rows, judged, _losses(detector, former.development), told)

    @property
    def accepted(self) -> bool:
        """Whether it could be activated as it is."""
        return not self.judged.refused

    def solves(self, detector: Detector, development: Features, options: AcceptanceOptions) -> bool:
        """Whether it is accepted, and has at most the EER `gate.known` on the new domain's development split.

        To be asked before the detector has the new expert.
        """
        if not self.accepted:
            return False
        scored = score_sets(detector, {"": development})[""]
        return equal_error_rate(*scored.classes) <= options.known

    def better(self, detector: Detector, former: Former, result: Adapted, accept: bool) -> str:
        """Why it shall stand instead of the detector with the trained expert; empty where it shall not.

        Harm is no reason where whatever acceptance finds is to be activated (`accept`).
        """
        if not brings(self.losses - _losses(detector, former.development), former.development, former.voices):
            return _NOTHING_CERTAIN
        if result.refused and self.accepted and not accept:
            return f"with it {'; '.join(result.refused)}"
        return ""

    def take_over(self, detector: Detector, name: str, result: Adapted, why: str) -> None:
        """Withdraw the expert: the detector is then as this one, and so are the figures of the result."""
        detector.head.load_state_dict(self.head)
        detector.calibration = self.calibration
        for router, rows in zip(detector.mixture.routers, self.rows, strict=True):
            router.take_back(rows)
        detector.mixture.withdraw(name)
        for figures in ("before", "after", "changes", "real_speech", "voices", "refused"):
            setattr(result, figures, getattr(self.judged, figures))
        result.withdrawn = True
        result.remarks += [
            _WITHDRAWN.format(name=name, why=why),
            *self.judged.remarks,
        ]


@dataclass(frozen=True)
class BeforeTheFirst:
    """The readout alone, before the first expert is trained beside it.

    Attributes:
        calibration: by which it speaks alone.
        development, voices: the split that decides, and names by source.
        losses: (N,) its logistic losses, likewise; nats.
    """

    calibration: Calibration
    development: Features
    voices: Mapping[str, str]
    losses: NDArray[np.float64]

    @classmethod
    def of(
        cls, detector: Detector, development: Features, voices: Mapping[str, str]
    ) -> BeforeTheFirst | None:
        """As it speaks now; None where there is none, or a head that would go on without it."""
        readout = detector.head.readout
        if readout is None or not readout.has_learnt or not detector.head.relative:
            return None
        calibrate(detector, [development])
        return cls(detector.calibration, development, voices, _losses(detector, development))

    def takes_over(self, detector: Detector, name: str, result: Adapted) -> bool:
        """Withdraw the expert, unless what it brought is certain; True where it is withdrawn."""
        fell = self.losses - _losses(detector, self.development)
        if brings(fell, self.development, self.voices):
            return False
        # The readout's share is what it has alone: see `weigh_readout`.
        detector.calibration = self.calibration
        detector.mixture.withdraw(name)
        result.withdrawn = True
        result.remarks.append(_WITHDRAWN.format(name=name, why=_NOTHING_CERTAIN))
        return True


def _losses(detector: Detector, development: Features) -> NDArray[np.float64]:
    """(N,) logistic losses by a calibration of their own, in nats.

    By the detector's own an expert would gain where it damps a readout that claims too much on new voices, and tells
    no more apart. Scores that have the wrong order tell nothing.
    """
    scores = score_development(detector, {"": development}).scores
    real = development.bona_fide.numpy()
    try:
        own = Calibration.fit(scores[real], scores[~real])
    except DataError:
        return np.full(len(scores), np.log(2))
    return loss_of_each(own.apply(scores), development.bona_fide)


def brings(fell: NDArray[np.float64], development: Features, voices: Mapping[str, str]) -> bool:
    """Whether an expert brings something certain: `is_gain` over voices, of names by source.

    Where fewer than four are known, over source recordings, which says nothing of other voices.
    """
    units = development.spoken_by(voices)
    if len(set(units)) < _FEWEST_VOICES:
        units = development.sources
    return is_gain(fell, development.bona_fide.numpy(), units)


def is_gain(fell: NDArray[np.float64], bona_fide: NDArray[np.bool_], units: Sequence[str]) -> bool:
    """Whether losses fell with the interval (95 %) above 0, both classes with the same weight.

    The recordings of one voice tell much the same, so the variance is clustered by unit, and the quantile is
    Student's for their number. One standard error, as in the rule of Breiman et al. (1984), is not enough: training
    stopped where it was best on these very recordings.

    Source: own; Cameron & Miller (2015), "A practitioner's guide to cluster-robust inference", for the variance.

    Args:
        fell: (N,) by how much the loss of each recording fell; nats.
        bona_fide: (N,) their labels, of both classes.
        units: of each the voice, or whatever was drawn as one. Of a single unit nothing is certain.
    """
    from scipy.special import stdtrit

    names, own = np.unique(np.asarray(units), return_inverse=True)
    count = len(names)
    if count < 2:
        return False
    total, moved = 0.0, np.zeros(count)  # the sum of both means, and by how much each unit moves it
    for members in (bona_fide, ~bona_fide):
        mean = float(fell[members].mean())
        total += mean
        moved += np.bincount(own[members], (fell[members] - mean) / members.sum(), minlength=count)
    error = float(np.sum(moved**2) * count / (count - 1)) ** 0.5
    return bool(total > stdtrit(count - 1, (1 + _CERTAIN) / 2) * error)
