"""The three ways to train: a first mixture, one more expert, the routers alone. Each measures before and after."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from molex_adapt.calibration import Calibration
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, ExpertError
from molex_adapt.features import Features
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.recipe import Recipe
from molex_adapt.reports import Change
from molex_adapt.run import Run
from molex_adapt.train.acceptance import (
    DomainScores,
    compare,
    compare_refused,
    rates,
    refusals,
    score_sets,
    unproven,
)
from molex_adapt.train.calibrate import DevelopmentScores, calibrate, frozen_threshold, score_development
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.exemplars import Exemplars, choose_exemplars
from molex_adapt.train.likeness import likeness
from molex_adapt.train.loop import Fitted, fit
from molex_adapt.train.old import (
    OldDomain,
    check_sets,
    development_sets,
    replay_pools,
    replay_share,
    replay_weights,
    row_of,
    with_replay,
)
from molex_adapt.train.pools import Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, weigh_readout
from molex_adapt.train.stages import append_expert, crop_frames, expert_stage, joint_stage, router_stage


@dataclass
class Adapted:
    """The result of training; the detector itself was changed in place.

    Attributes:
        experts: names of the new experts.
        before, after: figures per domain; `before` has only domains that there were before.
        changes: paired comparison per domain that was measured both times.
        real_speech: what the frozen threshold refuses of the bona fide speech of all of them, before and after.
        refused: why the result may not be activated; empty when it may.
        not_measured: old domains of which nothing is kept to measure on.
        withdrawn: whether the new expert was found to do harm, so that its gates are closed.
        seconds: wall-clock time of the expert (or joint) stage, of the router stage and of measuring.
        exemplars: per new expert.
        threshold: frozen when the first mixture was trained; nats.
    """

    experts: list[str]
    threshold: float
    before: dict[str, Rates] = field(default_factory=dict)
    after: dict[str, Rates] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    real_speech: RefusalsChange | None = None
    refused: list[str] = field(default_factory=list)
    withdrawn: bool = False
    not_measured: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"expert": 0.0, "router": 0.0, "evaluate": 0.0})
    stages: dict[str, Fitted] = field(default_factory=dict)
    exemplars: dict[str, Exemplars] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def train_first(
    detector: Detector,
    domains: Mapping[str, DomainData],
    recipe: Recipe,
    run: Run,
    sharing: Sequence[str] = (),
    checkpoints: Checkpoints | None = None,
) -> Adapted:
    """Train experts, routers and head of an empty mixture together, calibrate, measure.

    Routers learn to send the spoofed speech of a domain to the expert of that name. With `sharing`, the names of
    several experts, there is one domain, and nothing says which expert its speech belongs to.
    """
    torch.manual_seed(run.seed)
    names = list(sharing) or list(domains)
    for number, name in enumerate(names):
        append_expert(detector, name, recipe, run.seed + number)
    for parameter in detector.head.parameters():
        _reset(parameter)
    pools = [
        Pool(data.train, 1.0, None if sharing else detector.mixture.index(name))
        for name, data in domains.items()
    ]
    development = [data.dev for data in domains.values()]
    stage = joint_stage(detector, pools, development, recipe, run.seed)
    fitted = fit(detector, stage, run, checkpoints)
    round_to_half(detector, names)  # before anything is measured
    result = Adapted(names, threshold=0.0, stages={"joint": fitted})
    result.seconds["expert"] = fitted.seconds
    started = time.monotonic()
    owner = {name: names[0] if sharing else name for name in domains}
    result.remarks += learn_readout(detector, {owner[name]: data for name, data in domains.items()})
    result.remarks += weigh_readout(detector, development)
    result.remarks += calibrate(detector, development)
    result.threshold = frozen_threshold(detector, development, recipe.refused)
    result.after = rates(
        score_sets(detector, {name: data.test for name, data in domains.items()}), recipe.gate
    )
    result.seconds["evaluate"] = time.monotonic() - started
    for number, name in enumerate(names):
        data = domains[name] if not sharing else next(iter(domains.values()))
        # Experts that share a domain keep the same exemplars. Experts of different domains each draw their own.
        result.exemplars[name] = _exemplars(data, recipe, run.seed + (0 if sharing else number))
    return result


def add_expert(
    detector: Detector,
    name: str,
    domain: str,
    data: DomainData,
    old: Mapping[str, OldDomain],
    threshold: float,
    recipe: Recipe,
    run: Run,
    checkpoints: Checkpoints | None = None,
    *,
    accept: bool = False,
) -> Adapted:
    """Train one new expert with all old ones frozen, then the routers if the recipe says so, and judge the result.

    The readout learns the domain first, in closed form. Where the mixture with the expert is not accepted, and what the
    readout learnt is accepted alone, the expert is withdrawn: it is kept, and its gates are closed.

    Args:
        detector: the active mixture; changed in place.
        name, domain, data: of the new expert.
        old: the domains known so far.
        threshold: frozen, in nats.
        recipe, run, checkpoints: how it is trained, with which seed, and where its state is kept.
        accept: keep the expert at work whatever it does.
    """
    result = Adapted([name], threshold)
    # All that is asked of the former mixture comes before `append_expert`: from there on it is another one.
    found = likeness(detector, data.dev, recipe.gate) if detector.mixture.names else None
    if found is not None and found.eer <= recipe.gate.known:
        result.remarks.append(found.remark(domain))
        run.progress.note(result.remarks[-1])
    sets = {**check_sets(old), domain: data.test}
    result.not_measured = [key for key in old if key not in sets]
    scored_before = _timed(result, lambda: score_sets(detector, sets))
    known = development_sets(old)
    before = score_development(detector, known)
    losses, share = before.losses(), recipe.expert.replay_share
    if found is not None:
        share = replay_share(1 - share, found.loss, losses)
    development = [data.dev, *known.values()]
    # Early stopping then measures both.
    alone = _ReadoutAlone.learn(detector, name, data, development, recipe, before, sets, result)
    append_expert(detector, name, recipe, run.seed, found.gates if found is not None else None)
    replay = replay_pools(detector, old, replay_weights(losses))
    new_row = detector.mixture.index(name)
    new = Pool(data.train, 1.0, new_row)
    stage = expert_stage(detector, name, with_replay([new], replay, share), development, recipe, run.seed)
    result.stages["expert"] = fit(detector, stage, run, checkpoints)
    round_to_half(detector, [name])
    if recipe.expert.then_routers:
        pools = with_replay([new], replay, recipe.router_stage.replay_share)
        stage = router_stage(detector, pools, development, recipe, run.seed)
        result.stages["router"] = fit(detector, stage, run, checkpoints)
    result.remarks += weigh_readout(detector, development)
    # Calibration moves the scores that the frozen threshold is held against, so it comes before the judgement.
    _recalibrate(detector, development, recipe, result, before)
    _judge(detector, sets, scored_before, domain, recipe, result)
    if result.refused and alone is not None and not accept:
        alone.take_over(detector, name, scored_before, domain, recipe, result)
    result.exemplars[name] = _exemplars(data, recipe, run.seed + new_row)
    return result


def retrain_routers(
    detector: Detector,
    data: Mapping[str, DomainData],
    old: Mapping[str, OldDomain],
    threshold: float,
    recipe: Recipe,
    run: Run,
    checkpoints: Checkpoints | None = None,
) -> Adapted:
    """Router stage alone, on exemplars and further data, whose spoofed speech goes to the expert of its domain.

    Raises:
        ExpertError: the mixture has no expert.
        DataError: nothing to train on, or nothing to measure on.
    """
    if not detector.mixture.names:
        raise ExpertError("the mixture has no experts to route to; add one first: molex-adapt add-expert")
    result = Adapted([], threshold)
    sets = check_sets(old) | {domain: item.test for domain, item in data.items()}
    owners = {domain: row_of(detector, item) for domain, item in old.items()}
    given = [Pool(item.train, 1.0, owners.get(domain)) for domain, item in data.items()]
    pools = with_replay(given, replay_pools(detector, old), recipe.router_stage.replay_share)
    _require_material(pools, sets, old)
    result.not_measured = [key for key in old if key not in sets]
    scored_before = _timed(result, lambda: score_sets(detector, sets))
    known = development_sets(old)
    before = score_development(detector, known if recipe.calibration == "hold" else {})
    development = [*known.values(), *(item.dev for item in data.values())]
    stage = router_stage(detector, pools, development, recipe, run.seed)
    result.stages["router"] = fit(detector, stage, run, checkpoints)
    _recalibrate(detector, development, recipe, result, before)
    _judge(detector, sets, scored_before, None, recipe, result)
    return result


@torch.no_grad()
def round_to_half(detector: Detector, names: Sequence[str]) -> None:
    """Round experts to half precision, in which they are stored: what is measured is then what is stored."""
    for name in names:
        for weight in detector.mixture.expert_parameters(name):
            weight.copy_(weight.half().float())


def _judge(
    detector: Detector,
    sets: Mapping[str, Features],
    scored_before: Mapping[str, DomainScores],
    new_domain: str | None,
    recipe: Recipe,
    result: Adapted,
) -> None:
    result.seconds |= {stage: fitted.seconds for stage, fitted in result.stages.items()}

    _timed(
        result,
        lambda: _compare(scored_before, score_sets(detector, sets), new_domain, recipe, result),
    )
    if "router" in result.stages and result.stages["router"].best_step == 0:
        result.remarks.append("the router stage brought nothing on the development split and was not kept")


def _compare(
    before: Mapping[str, DomainScores],
    after: Mapping[str, DomainScores],
    new_domain: str | None,
    recipe: Recipe,
    result: Adapted,
) -> None:
    result.before, result.after = rates(before, recipe.gate), rates(after, recipe.gate)
    result.changes = compare(before, after, result.threshold, recipe.gate)
    result.real_speech = compare_refused(before, after, result.threshold, recipe.gate)
    result.refused = refusals(result.changes, result.real_speech, new_domain, recipe.gate)
    if new_domain is not None:
        result.refused += unproven(result.changes, result.after, new_domain)


@dataclass(frozen=True)
class _ReadoutAlone:
    """The mixture as it was, with a readout that has learnt the new domain: what is left without the expert."""

    head: dict[str, torch.Tensor]
    calibration: Calibration
    remarks: list[str]
    scored: dict[str, DomainScores]

    @classmethod
    def learn(
        cls,
        detector: Detector,
        name: str,
        data: DomainData,
        development: list[Features],
        recipe: Recipe,
        before: DevelopmentScores,
        sets: Mapping[str, Features],
        result: Adapted,
    ) -> _ReadoutAlone | None:
        """Let the readout learn, weigh it, calibrate and measure; None where there is no readout, or nothing learnt."""
        started = time.monotonic()
        remarks = learn_readout(detector, {name: data})
        readout = detector.head.readout
        if readout is None or not readout.has_learnt:
            result.remarks += remarks
            return None
        remarks += weigh_readout(detector, development)
        result.seconds["readout"] = time.monotonic() - started
        _recalibrate(detector, development, recipe, result, before)
        scored = _timed(result, lambda: score_sets(detector, sets))
        return cls(copy.deepcopy(detector.head.state_dict()), detector.calibration, remarks, scored)

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
        _compare(before, self.scored, domain, recipe, alone)
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


def _recalibrate(
    detector: Detector,
    development: list[Features],
    recipe: Recipe,
    result: Adapted,
    before: DevelopmentScores,
) -> None:
    if recipe.calibration != "keep":
        held = before if recipe.calibration == "hold" else None
        result.remarks += calibrate(detector, development, result.threshold, held)


def _require_material(
    pools: Sequence[Pool], sets: Mapping[str, Features], old: Mapping[str, OldDomain]
) -> None:
    """Refuse, before the first step, training without data and a result that could not be measured."""
    labels = {label for pool in pools for label in pool.clips.bona_fide.tolist()}
    for kind, purpose, enough in (
        ("replay", "retrain the routers on", len(labels) == 2),
        ("check", "measure the retrained routers on", bool(sets)),
    ):
        if not enough:
            raise DataError(
                f"there is no data to {purpose}: of {', '.join(old) or 'no domain'}, too few {kind} exemplars are kept "
                f"(recipe: exemplars.{kind}, when an expert is made). Give recordings of a domain: "
                "molex-adapt retrain-router DATA"
            )


def _exemplars(data: DomainData, recipe: Recipe, seed: int) -> Exemplars:
    """What is kept of a domain. The seed differs by domain.

    Domains of one corpus share its bona fide speech. With draws of their own they keep more of it together.
    """
    return choose_exemplars(data.train, data.test, recipe.exemplars, crop_frames(recipe), seed)


def _reset(parameter: torch.nn.Parameter) -> None:
    """Draw a weight of the head anew, so that the seed decides it and not what was constructed before."""
    with torch.no_grad():
        if parameter.dim() > 1:
            torch.nn.init.xavier_uniform_(parameter)
        else:
            parameter.zero_()


T = TypeVar("T")


def _timed(result: Adapted, work: Callable[[], T]) -> T:
    started = time.monotonic()
    value = work()
    result.seconds["evaluate"] += time.monotonic() - started
    return value
