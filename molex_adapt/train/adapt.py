"""Adding an expert to a mixture, training a first mixture, retraining routers: stages, then the gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, concatenate, logits_of
from molex_adapt.metrics import Rates
from molex_adapt.progress import Progress
from molex_adapt.recipe import Recipe
from molex_adapt.reports import Change
from molex_adapt.train.calibrate import (
    equal_weights,
    fit_calibration,
    frozen_threshold,
    held_at,
    holding_boundary,
)
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.exemplars import Exemplars, choose_exemplars, divide_replay
from molex_adapt.train.gate import ScoredSet, compare, rates, refusals, score_sets
from molex_adapt.train.likeness import likeness
from molex_adapt.train.loop import Fitted
from molex_adapt.train.pools import Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.reads import ReadStatistics, reads_of
from molex_adapt.train.stages import append_expert, crop_frames, fit_expert, fit_jointly, fit_routers

MOST_READ = 256
"""Utterances of each class that the statistics of what routers read are taken over."""


@dataclass
class Adapted:
    """What stages and gate came to; the detector itself was changed in place.

    Attributes:
        experts: names of the new experts.
        before, after: figures per domain; `before` lacks what did not exist.
        changes: paired comparison per domain that could be measured both times.
        refused: why the result may not be activated; empty when it may.
        not_measured: old domains without anything to measure on.
        seconds: wall-clock of the expert stage (or joint stage), the router stage and the measuring.
        stages: how each stage went.
        exemplars: per new expert.
        threshold: nats; frozen when the first mixture was trained.
        remarks: what else a user should know.
    """

    experts: list[str]
    threshold: float
    before: dict[str, Rates] = field(default_factory=dict)
    after: dict[str, Rates] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"expert": 0.0, "router": 0.0, "evaluate": 0.0})
    stages: dict[str, Fitted] = field(default_factory=dict)
    exemplars: dict[str, Exemplars] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OldDomain:
    """What is known of a domain that the mixture already has.

    Attributes:
        expert: the name of its expert; None where several experts share the domain among themselves.
        exemplars: what was kept; None where nothing may be kept.
    """

    expert: str | None
    exemplars: Exemplars | None


def train_first(
    detector: Detector,
    domains: Mapping[str, DomainData],
    recipe: Recipe,
    seed: int,
    progress: Progress,
    sharing: Sequence[str] = (),
    checkpoints: Checkpoints | None = None,
) -> Adapted:
    """Train experts, routers and head of an empty mixture together, calibrate, measure.

    Args:
        detector: without experts; changed in place.
        domains: data per expert; spoofed speech of a domain is led to the expert of that name. With `sharing`
            there is one domain, and all experts share its data without being led.
        recipe, seed, progress: as everywhere.
        sharing: names of the experts that divide one domain among themselves.
        checkpoints: where the stages leave their state and go on from it.
    """
    torch.manual_seed(seed)
    names = list(sharing) or list(domains)
    for number, name in enumerate(names):
        append_expert(detector, name, recipe, seed + number)
    for parameter in detector.head.parameters():
        _reset(parameter)
    pools = [
        Pool(data.train, 1.0, None if sharing else detector.mixture.index(name))
        for name, data in domains.items()
    ]
    fitted = fit_jointly(
        detector, pools, [data.dev for data in domains.values()], recipe, seed, progress, checkpoints
    )
    round_to_half(detector, names)
    result = Adapted(names, threshold=0.0, stages={"joint": fitted})
    result.seconds["expert"] = fitted.seconds
    started = time.monotonic()
    development = [data.dev for data in domains.values()]
    calibrate(detector, development, result)
    result.threshold = frozen_threshold(detector, development)
    result.after = rates(
        score_sets(detector, {name: data.test for name, data in domains.items()}), recipe.gate
    )
    result.seconds["evaluate"] = time.monotonic() - started
    for number, name in enumerate(names):
        data = domains[name] if not sharing else next(iter(domains.values()))
        # Experts that divide one domain keep one set of it; those of different domains draw apart.
        result.exemplars[name] = _exemplars(detector, data, recipe, seed + (0 if sharing else number))
    return result


def add_expert(
    detector: Detector,
    name: str,
    domain: str,
    data: DomainData,
    old: Mapping[str, OldDomain],
    threshold: float,
    recipe: Recipe,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Adapted:
    """Train one new expert with everything old frozen, then the routers briefly, then judge.

    Args:
        detector: the active mixture; changed in place.
        name: of the new expert.
        domain: what it is added for.
        data: that domain's data.
        old: the domains known so far.
        threshold: frozen, in nats.
        recipe, seed, progress: as everywhere.
        checkpoints: as for `train_first`.
    """
    result = Adapted([name], threshold)
    gates = None
    if detector.mixture.names:
        found = likeness(detector, data.dev, recipe.gate)
        if found.eer <= recipe.gate.known:
            result.remarks.append(found.remark(domain))
            progress.note(result.remarks[-1])
        gates = found.gates if recipe.expert.start == "merged" else None
    sets = _measuring_sets(domain, data.test, old, result)
    scored_before = _timed(result, lambda: score_sets(detector, sets))
    old_logits = {
        key: logits_of(detector, divide_replay(item.exemplars.replay)[0])
        for key, item in old.items()
        if item.exemplars is not None and recipe.expert.distillation + recipe.router_stage.distillation > 0
    }
    held = scored_development(detector, old, recipe)
    append_expert(detector, name, recipe, seed, gates)
    replay = _replay_pools(detector, old, old_logits)
    development = [data.dev, *development_sets(old)]
    new_row = detector.mixture.index(name)
    alone = recipe.expert.way == "alone"
    pools = [Pool(data.train, 1.0, new_row)]
    if not alone:
        pools = _shared(pools, replay, recipe.expert.replay_share)
    result.stages["expert"] = fit_expert(
        detector,
        name,
        pools,
        [data.dev] if alone else development,
        recipe,
        seed,
        progress,
        _known(old),
        _mean_read(detector, data) if recipe.expert.gate_at == "domain" else None,
        checkpoints,
    )
    round_to_half(detector, [name])
    pools = _shared([Pool(data.train, 1.0, new_row)], replay, recipe.router_stage.replay_share)
    result.stages["router"] = fit_routers(detector, pools, development, recipe, seed, progress, checkpoints)
    if recipe.calibration != "keep":
        calibrate(detector, development, result, held)
    _judge(detector, sets, scored_before, domain, recipe, result)
    result.exemplars[name] = _exemplars(detector, data, recipe, seed + new_row)
    return result


def retrain_routers(
    detector: Detector,
    data: Mapping[str, DomainData],
    old: Mapping[str, OldDomain],
    threshold: float,
    recipe: Recipe,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Adapted:
    """Router stage alone, on the exemplars and whatever further data is given.

    Args:
        detector: the active mixture; changed in place.
        data: further data per domain; its spoofed speech is led to that domain's expert where there is one.
        old, threshold, recipe, seed, progress, checkpoints: as for `add_expert`.

    Raises:
        DataError: neither data nor exemplars.
    """
    result = Adapted([], threshold)
    sets = {key: item.exemplars.check for key, item in old.items() if item.exemplars is not None}
    sets |= {domain: item.test for domain, item in data.items()}
    if not sets:
        raise DataError(
            "no data to retrain the routers on: the experts keep no exemplars; give folders of their domains"
        )
    result.not_measured = [key for key in old if key not in sets]
    scored_before = _timed(result, lambda: score_sets(detector, sets))
    owners = {domain: _row(detector, item) for domain, item in old.items()}
    held = scored_development(detector, old, recipe)
    pools = _replay_pools(detector, old, {})
    pools += [Pool(item.train, 1.0, owners.get(domain)) for domain, item in data.items()]
    development = [*development_sets(old), *(item.dev for item in data.values())]
    result.stages["router"] = fit_routers(detector, pools, development, recipe, seed, progress, checkpoints)
    if recipe.calibration != "keep":
        calibrate(detector, development, result, held)
    _judge(detector, sets, scored_before, None, recipe, result)
    return result


@torch.no_grad()
def round_to_half(detector: Detector, names: Sequence[str]) -> None:
    """Round experts to what half precision can hold, so that what was measured is what is stored."""
    for name in names:
        for weight in detector.mixture.expert_parameters(name):
            weight.copy_(weight.half().float())


def _judge(
    detector: Detector,
    sets: Mapping[str, Features],
    scored_before: Mapping[str, ScoredSet],
    new_domain: str | None,
    recipe: Recipe,
    result: Adapted,
) -> None:
    result.seconds["expert"] = result.stages["expert"].seconds if "expert" in result.stages else 0.0
    result.seconds["router"] = result.stages["router"].seconds

    def measure_both() -> None:
        scored_after = score_sets(detector, sets)
        result.before = rates(scored_before, recipe.gate)
        result.after = rates(scored_after, recipe.gate)
        result.changes = compare(scored_before, scored_after, result.threshold, recipe.gate)

    _timed(result, measure_both)
    result.refused = refusals(result.changes, new_domain, recipe.gate)
    if result.stages["router"].best_step == 0 and recipe.router_stage.steps > 0:
        result.remarks.append("the router stage brought nothing on the development split and was not kept")


def _measuring_sets(
    domain: str, test: Features, old: Mapping[str, OldDomain], result: Adapted
) -> dict[str, Features]:
    sets = {}
    for key, item in old.items():
        if item.exemplars is None or not len(item.exemplars.check):
            result.not_measured.append(key)
        else:
            sets[key] = item.exemplars.check
    sets[domain] = test
    return sets


def development_sets(old: Mapping[str, OldDomain]) -> list[Features]:
    """What is kept of old domains to stop early and to calibrate on."""
    sets = [divide_replay(item.exemplars.replay)[1] for item in old.values() if item.exemplars is not None]
    return [item for item in sets if len(item)]


def scored_development(
    detector: Detector, old: Mapping[str, OldDomain], recipe: Recipe
) -> tuple[list[Features], NDArray[np.float64]] | None:
    """What the calibration is held by, with its scores at this moment; None where it is not."""
    sets = development_sets(old)
    if recipe.calibration != "hold" or not sets:
        return None
    return sets, detector.calibration.apply(logits_of(detector, concatenate(sets)).double().numpy())


def _replay_pools(
    detector: Detector, old: Mapping[str, OldDomain], old_logits: Mapping[str, torch.Tensor]
) -> list[Pool]:
    pools = []
    for key, item in old.items():
        if item.exemplars is None:
            continue
        replay, _ = divide_replay(item.exemplars.replay)
        pools.append(Pool(replay, 1.0, _row(detector, item), old_logits.get(key)))
    return [pool for pool in pools if len(pool.clips)]


def _row(detector: Detector, domain: OldDomain) -> int | None:
    return None if domain.expert is None else detector.mixture.index(domain.expert)


def _shared(new: list[Pool], replay: list[Pool], replay_share: float) -> list[Pool]:
    if not replay:
        return new
    share = replay_share / len(replay)
    rest = (1 - replay_share) / len(new)
    return [Pool(p.clips, rest, p.expert, p.old_logits) for p in new] + [
        Pool(p.clips, share, p.expert, p.old_logits) for p in replay
    ]


def calibrate(
    detector: Detector,
    development: Sequence[Features],
    result: Adapted,
    held: tuple[Sequence[Features], NDArray[np.float64]] | None = None,
) -> None:
    """Fit the calibration anew; the old one stays on failure.

    Args:
        detector: changed in place.
        development: of every domain.
        result: takes the remark of a failure.
        held: old domains' development sets and their scores before, to be told apart at the threshold as they were.
    """
    try:
        found = fit_calibration(detector, development)
    except DataError as error:
        result.remarks.append(f"the calibration is as before: {error}")
        return
    if held is not None and held[0]:
        sets, before = held
        old = concatenate(list(sets))
        after = logits_of(detector, old).double().numpy()
        boundary = holding_boundary(
            before, after, old.bona_fide.numpy(), equal_weights(sets), result.threshold
        )
        found = held_at(found, result.threshold, boundary)
    detector.calibration = found


def _known(old: Mapping[str, OldDomain]) -> list[ReadStatistics]:
    return [reads for item in old.values() if item.exemplars is not None for reads in item.exemplars.reads]


def _mean_read(detector: Detector, data: DomainData) -> torch.Tensor:
    """(L, D) of the domain's spoofed development speech."""
    spoofed = data.dev.pick(data.dev.of_class(False)[:MOST_READ])
    return reads_of(detector, spoofed).mean(0).to(detector.device)


def _exemplars(detector: Detector, data: DomainData, recipe: Recipe, seed: int) -> Exemplars:
    """A domain's own draw: domains of one data set share its bona fide speech, and together keep more of it."""
    options, crop = recipe.exemplars, crop_frames(recipe)
    found = choose_exemplars(data.train, data.test, options, crop, seed)
    if not options.directions:
        return found
    heard = choose_exemplars(
        data.train, data.test, options.model_copy(update={"replay": MOST_READ}), crop, seed
    )
    reads = reads_of(detector, heard.replay)
    classes = [heard.replay.of_class(label) for label in (True, False)]
    statistics = [ReadStatistics.of(reads[rows], options.directions) for rows in classes if len(rows) > 1]
    return replace(found, reads=tuple(statistics))


def _reset(parameter: torch.nn.Parameter) -> None:
    """Draw a head's weight anew, so that the seed and not the order of construction decides it."""
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
