"""The new generation without its expert: what stands where the expert brings nothing certain, or harm."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features
from molex_adapt.recipe import AcceptanceOptions, Recipe
from molex_adapt.reports import Gain
from molex_adapt.run import Run
from molex_adapt.train.acceptance import score_sets
from molex_adapt.train.calibrate import calibrate
from molex_adapt.train.former import Former
from molex_adapt.train.gain import Told, gain_of, told_of
from molex_adapt.train.judgement import Adapted, compare_all, timed
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, told_to_experts

_WITHDRAWN = "expert {name} is withdrawn: kept, with closed gates, for {why}"


def _nothing(gain: Gain) -> str:
    return f"on the development split its training brought nothing certain: {gain}"


def require_readout(detector: Detector) -> None:
    """Refuse to train no expert where nothing else could tell anything.

    Raises:
        DataError: there is no readout.
    """
    if detector.head.readout is None:
        raise DataError(
            "the readout alone was asked for, and this mixture has none. Train an expert, or begin a registry whose "
            "recipe has one: --set head.readout=true"
        )


def require_learnt(detector: Detector) -> None:
    """The same after the readout's lesson.

    Raises:
        DataError: there is no readout, it has learnt nothing, or has no part in the score.
    """
    require_readout(detector)
    readout = detector.head.readout
    if readout is not None and readout.has_learnt and not float(readout.share) > 0:
        raise DataError(
            "the readout alone was asked for, and on the development split what it says tells nothing: it has no "
            "part in the score. Give more recordings of both classes"
        )
    if readout is not None and not readout.has_learnt:
        raise DataError(
            "the readout alone was asked for, and it learnt nothing from these recordings: real and spoofed speech "
            "look alike to it. Train an expert, or give more recordings"
        )


def withdraw_untrained(detector: Detector, names: Sequence[str], result: Adapted) -> None:
    """Close the gates of experts that the readout stands for alone."""
    for name in names:
        detector.mixture.withdraw(name)
    result.withdrawn = True
    named = ", ".join(names)
    result.remarks.append(f"no expert was trained for {named}: the readout alone was asked for")


@dataclass(frozen=True)
class ReadoutAlone:
    """The mixture as it was, with a readout that has learnt the new domain: what is left without the expert.

    Attributes:
        head, calibration: as they are with it.
        rows: of every router before the new expert came.
        judged: every domain before and with it, and what speaks against it.
        development: what it tells of the new domain's development split.
        told: (N,) what it adds to the logits of the training recordings, as if it had not learnt from each; None where
            it has not read all of them.
    """

    head: dict[str, torch.Tensor]
    calibration: Calibration
    rows: list[torch.Tensor]
    judged: Adapted
    development: Told
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
        result.speech = learnt.speech
        readout = detector.head.readout
        if readout is None or not readout.has_learnt:
            return None
        judged = Adapted(result.experts, result.threshold, result.risen)
        judged.remarks += former.settle(detector, judged.threshold)
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
        return cls(head, detector.calibration, rows, judged, told_of(detector, former.development), told)

    @property
    def accepted(self) -> bool:
        """Whether it could be activated as it is."""
        return not self.judged.refused

    def solves(self, options: AcceptanceOptions) -> bool:
        """Whether it is accepted, and has at most the EER `gate.known` on the new domain's development split."""
        return self.accepted and self.development.eer <= options.known

    def better(self, detector: Detector, former: Former, result: Adapted, accept: bool) -> str:
        """Why it shall stand instead of the detector with the trained expert; empty where it shall not.

        Harm is no reason where whatever acceptance finds is to be activated (`accept`).
        """
        development = former.development
        result.gain = gain_of(self.development, told_of(detector, development), development, former.voices)
        if not result.gain.is_certain:
            return _nothing(result.gain)
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
        for figures in ("before", "after", "changes", "real_speech", "voices", "refused", "told"):
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
        told: what it tells of that split.
    """

    calibration: Calibration
    development: Features
    voices: Mapping[str, str]
    told: Told

    @classmethod
    def of(
        cls, detector: Detector, development: Features, voices: Mapping[str, str]
    ) -> BeforeTheFirst | None:
        """As it speaks now; None where there is none, or a head that would go on without it."""
        readout = detector.head.readout
        if readout is None or not readout.has_learnt or not detector.head.relative:
            return None
        calibrate(detector, [development])
        return cls(detector.calibration, development, voices, told_of(detector, development))

    def takes_over(self, detector: Detector, name: str, result: Adapted) -> bool:
        """Withdraw the expert, unless what it brought is certain; True where it is withdrawn."""
        gain = gain_of(self.told, told_of(detector, self.development), self.development, self.voices)
        result.gain = gain
        if gain.is_certain:
            return False
        # The readout's share is what it has alone: see `weigh_readout`.
        detector.calibration = self.calibration
        detector.mixture.withdraw(name)
        result.withdrawn = True
        result.remarks.append(_WITHDRAWN.format(name=name, why=_nothing(gain)))
        return True
