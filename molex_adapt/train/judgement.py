"""What training came to, and its judgement: every domain before and after, and what speaks against activation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.recipe import Recipe
from molex_adapt.reports import Change, Gain
from molex_adapt.train.acceptance import (
    DomainScores,
    caught_at_threshold,
    compare,
    compare_refused,
    rates,
    refusals,
    refused_by_voice,
    score_sets,
    unproven,
)
from molex_adapt.train.exemplars import Exemplars
from molex_adapt.train.loop import Fitted


@dataclass
class Adapted:
    """The result of training; the detector itself was changed in place.

    Attributes:
        experts: names of the new experts.
        before, after: figures per domain; `before` has only domains that there were before.
        changes: paired comparison per domain that was measured both times.
        real_speech: what the frozen threshold refuses of the bona fide speech of all of them, before and after.
        voices: the same of every voice that there is enough of.
        refused: why the result may not be activated; empty when it may.
        told: remarks on these figures, which go where they go.
        gain: what a single new expert brought beside the readout; None where that was not asked.
        not_measured: old domains of which nothing is kept to measure on.
        withdrawn: whether the gates of the new expert were closed, which brought nothing certain or did harm.
        seconds: wall-clock time of the readout, of the expert (or joint) stage, of the router stage and of measuring.
        exemplars: per new expert.
        speech: per new expert, what `Learnt.speech` says of its domain.
        threshold: frozen when the first mixture was trained; nats.
        risen: by how much the EER of an old domain lay above its best before.
    """

    experts: list[str]
    threshold: float
    risen: Mapping[str, float] = field(default_factory=dict)
    before: dict[str, Rates] = field(default_factory=dict)
    after: dict[str, Rates] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    real_speech: RefusalsChange | None = None
    voices: dict[str, RefusalsChange] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    withdrawn: bool = False
    gain: Gain | None = None
    not_measured: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"expert": 0.0, "router": 0.0, "evaluate": 0.0})
    stages: dict[str, Fitted] = field(default_factory=dict)
    exemplars: dict[str, Exemplars] = field(default_factory=dict)
    speech: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def fitted(self, stage: str, how: Fitted) -> None:
        """Take down how a stage went, and its time."""
        self.stages[stage] = how
        self.seconds["expert" if stage == "joint" else stage] = how.seconds


def judge(
    detector: Detector,
    sets: Mapping[str, Features],
    scored_before: Mapping[str, DomainScores],
    new_domain: str | None,
    recipe: Recipe,
    result: Adapted,
    voices: Mapping[str, str],
) -> None:
    """Measure all sets and fill the result: figures before and after, changes, and why it may not be activated."""
    timed(
        result,
        lambda: compare_all(scored_before, score_sets(detector, sets), new_domain, recipe, result, voices),
    )
    stage = result.stages.get("router")
    if stage is not None and stage.loss_best >= stage.loss_before:
        result.remarks.append("the router stage brought nothing on the development split and was not kept")


def compare_all(
    before: Mapping[str, DomainScores],
    after: Mapping[str, DomainScores],
    new_domain: str | None,
    recipe: Recipe,
    result: Adapted,
    voices: Mapping[str, str],
) -> None:
    """Fill the result from the scores of all sets before and after; `voices` are names by source."""
    result.before, result.after = rates(before), rates(after)
    result.changes = compare(before, after, result.threshold, new_domain, voices)
    result.real_speech = compare_refused(before, after, result.threshold)
    result.voices = refused_by_voice(before, after, result.threshold, voices)
    result.refused = refusals(
        result.changes, result.real_speech, new_domain, recipe.gate, result.voices, result.risen
    )
    if new_domain is not None:
        caught = caught_at_threshold(before, after, new_domain, result.threshold)
        why = unproven(result.changes, result.after, new_domain, caught)
        result.refused += why
        if caught and not why and result.changes[new_domain].interval[1] >= 0:
            first, then = (100 * share for share in result.changes[new_domain].false_alarm)
            result.told.append(
                f"{new_domain}: what is gained for certain is at the frozen threshold, which accepts {then:.0f} % of "
                f"its spoofed speech ({first:.0f} % before); its EER is no certain gain"
            )


T = TypeVar("T")


def timed(result: Adapted, work: Callable[[], T]) -> T:
    """The value of `work`, whose time counts as measuring."""
    started = time.monotonic()
    value = work()
    result.seconds["evaluate"] += time.monotonic() - started
    return value
