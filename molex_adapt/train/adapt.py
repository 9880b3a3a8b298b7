"""The three ways to train: a first mixture, one more expert, the routers alone. Each measures before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError, ExpertError
from molex_adapt.features import Features, unmoved, voices_of
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run
from molex_adapt.train.acceptance import rates, score_sets, undetected
from molex_adapt.train.calibrate import calibrate, frozen_threshold, score_development, spare
from molex_adapt.train.checkpoints import Checkpoints
from molex_adapt.train.exemplars import Exemplars, choose_exemplars
from molex_adapt.train.former import ask_former
from molex_adapt.train.judgement import Adapted, judge, timed
from molex_adapt.train.loop import fit
from molex_adapt.train.old import (
    OldDomain,
    bona_fide_of,
    check_sets,
    development_sets,
    replay_pools,
    risen,
    row_of,
    voices_among,
    with_replay,
)
from molex_adapt.train.pools import Pool
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import (
    learn_readout,
    let_it_speak_alone,
    told_of,
    told_to_experts,
    weigh_readout,
    with_states,
)
from molex_adapt.train.remembering import rehearsed
from molex_adapt.train.solving import known_reads, solve_if_better
from molex_adapt.train.stages import (
    append_expert,
    expert_stage,
    joint_stage,
    router_stage,
    standardise_routers,
)
from molex_adapt.train.withdrawal import (
    BeforeTheFirst,
    ReadoutAlone,
    require_learnt,
    withdraw_untrained,
)


def train_first(
    detector: Detector,
    domains: Mapping[str, DomainData],
    recipe: Recipe,
    run: Run,
    sharing: Sequence[str] = (),
    checkpoints: Checkpoints | None = None,
    *,
    readout_only: bool = False,
) -> Adapted:
    """Train experts, routers and head of an empty mixture together, calibrate, measure.

    Routers learn to send the spoofed speech of a domain to the expert of that name. With `sharing`, the names of
    several experts, there is one domain, and nothing says which expert its speech belongs to. A single expert that
    brings nothing certain beside the readout is withdrawn. With `readout_only` none is trained, and all are.

    Raises:
        DataError: the readout alone is asked for, and there is none, or it learns nothing.
    """
    names = list(sharing) or list(domains)
    for number, name in enumerate(names):
        append_expert(detector, name, recipe, run.seed + number)
    with run.drawing(detector.device):
        for parameter in detector.head.parameters():
            _reset(parameter)
    development = [data.dev for data in domains.values()]
    result = Adapted(names, threshold=0.0)
    # The readout comes first: experts learn what it leaves unsolved.
    started = time.monotonic()
    owner = {name: names[0] if sharing else name for name in domains}
    learnt = learn_readout(detector, {owner[name]: data for name, data in domains.items()}, run)
    result.remarks += learnt.remarks
    result.speech = learnt.speech
    let_it_speak_alone(detector, development)
    single = next(iter(domains.values())) if len(names) == 1 else None
    alone = BeforeTheFirst.of(detector, single.dev, voices_of(single.table)) if single else None
    result.seconds["readout"] = time.monotonic() - started
    pools = [
        Pool(
            data.train,
            1.0,
            None if len(sharing) > 1 else detector.mixture.index(owner[name]),
            told_to_experts(detector, data, learnt.unheard.get(owner[name])),
        )
        for name, data in domains.items()
    ]
    if readout_only:
        require_learnt(detector)
        standardise_routers(detector, pools)
        withdraw_untrained(detector, names, result)
    else:
        stage = joint_stage(detector, pools, development, recipe, run.seed)
        result.fitted(stage.name, fit(detector, stage, run, checkpoints))
        round_to_half(detector, names)  # before anything is measured
    started = time.monotonic()
    with unmoved(detector):
        remarks = weigh_readout(detector, development) + calibrate(detector, development)
        if readout_only or alone is None or not alone.takes_over(detector, names[0], result):
            result.remarks += remarks
    result.threshold = frozen_threshold(detector, development, recipe.refused)
    result.after = rates(score_sets(detector, {name: data.test for name, data in domains.items()}))
    result.seconds["evaluate"] = time.monotonic() - started
    result.remarks += undetected(result.after)
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
    if_needed: bool = False,
    readout_only: bool = False,
) -> Adapted:
    """Train one new expert with all old ones and the head frozen, retrain the routers briefly, and judge the result.

    The readout learns the domain first, in closed form. Where the expert brings nothing certain, or the
    mixture with it is not accepted and what the readout learnt is accepted alone, it is withdrawn: kept, and its gates
    are closed.

    Args:
        detector: the active mixture; changed in place.
        name, domain, data: of the new expert.
        old: the domains known so far.
        threshold: frozen, in nats.
        recipe, run, checkpoints: how it is trained, with which seed, and where its state is kept.
        accept: keep an expert at work that brings something, whatever harm it does.
        if_needed: train no expert where the readout alone solves the domain.
        readout_only: train no expert whatever the readout alone comes to.

    Raises:
        DataError: the readout alone is asked for, and there is none, or it has learnt nothing.
    """
    result = Adapted([name], threshold, risen(old))
    with unmoved(detector):
        former = ask_former(detector, domain, data, old, recipe, run, result)
        alone = ReadoutAlone.learn(detector, name, data, former, recipe, run, result)
        solved = alone is not None and alone.solves(recipe.gate)
    # By the name as well: experts that were not trained would be one and the same otherwise.
    append_expert(detector, name, recipe, int(sha256(f"{run.seed} {name}")[:8], 16))
    new_row = detector.mixture.index(name)
    result.exemplars[name] = _exemplars(data, recipe, run.seed + new_row)
    if len(detector.mixture.names) == 1:  # no old router row holds for what routers read so far
        standardise_routers(detector, [Pool(data.train, 1.0)])
    if readout_only:
        require_learnt(detector)
    if alone is not None and (readout_only or (solved and if_needed)):
        why = "the readout alone was asked for" if readout_only else "the readout alone solves the domain"
        alone.take_over(detector, name, result, f"{why}, and it was not trained")
        return result
    if solved:
        result.remarks.append(f"the readout alone solves {domain}: --if-needed would have trained no expert")
    new = Pool(data.train, 1.0, new_row, alone.told if alone is not None else None)
    pools = with_replay([new], former.replay, recipe.training.replay_share)
    stage = expert_stage(detector, name, pools, former.development, recipe, run.seed, former.rehearsed)
    result.fitted(stage.name, fit(detector, stage, run, checkpoints))
    round_to_half(detector, [name])
    held = former.rehearsed
    stage = router_stage(detector, pools, [former.development], recipe, run.seed, name, held)
    result.fitted(stage.name, fit(detector, stage, run, checkpoints))
    with unmoved(detector):
        # Calibration moves the scores that the frozen threshold is held against, so it comes before the judgement.
        settled = former.settle(detector, result.threshold)
        judge(detector, former.sets, former.scored, domain, recipe, result, former.voices)
        why = alone.better(detector, former, result, accept) if alone is not None else ""
    if alone is not None and why:
        alone.take_over(detector, name, result, why)
    else:
        result.remarks += settled
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

    The calibration stays; its offset rises where more bona fide speech of the development splits would be refused.

    Where the rows of all experts together in closed form are better on the development split, that is all. Else they
    are trained by gradient.

    Raises:
        ExpertError: the mixture has no expert.
        DataError: nothing to train on, or nothing to measure on.
    """
    if not detector.mixture.names:
        raise ExpertError("the mixture has no experts to route to; add one first: molex-adapt add-expert")
    result = Adapted([], threshold, risen(old))
    sets = with_states(detector, check_sets(old)) | {domain: item.test for domain, item in data.items()}
    owners = {domain: row_of(detector, item) for domain, item in old.items()}
    given = [
        Pool(item.train, 1.0, owners.get(domain), told_of(detector, item.train))
        for domain, item in data.items()
    ]
    pools = with_replay(given, replay_pools(detector, old), recipe.training.replay_share)
    _require_material(pools, sets, old)
    result.not_measured = [key for key in old if key not in sets]
    scored_before = timed(result, lambda: score_sets(detector, sets))
    # Recordings before exemplars, which were trained on.
    kept = {key: features for key, features in development_sets(old).items() if key not in data}
    known = with_states(detector, kept) | {domain: item.dev for domain, item in data.items()}
    held = score_development(detector, bona_fide_of(known))
    others = {key: item for key, item in old.items() if key not in data and item.exemplars is None}
    drawn = rehearsed(detector, others, run.seed)
    stage = router_stage(detector, pools, list(known.values()), recipe, run.seed, rehearsed=drawn)
    reads = known_reads(detector, old, data, recipe.data.crop_seconds)
    solved = solve_if_better(detector, reads, stage)
    if solved is not None:
        fell = f"from {solved.loss_before:.3f} to {solved.loss_best:.3f} nats"
        result.remarks.append(f"the routers are solved in closed form: the development loss fell {fell}")
    result.fitted(stage.name, solved or fit(detector, stage, run, checkpoints))
    with unmoved(detector):
        spare(detector, held, threshold)
        judge(detector, sets, scored_before, None, recipe, result, voices_among(old, data.values()))
    return result


@torch.no_grad()
def round_to_half(detector: Detector, names: Sequence[str]) -> None:
    """Round experts to half precision, in which they are stored: what is measured is then what is stored."""
    for name in names:
        for weight in detector.mixture.expert_parameters(name):
            weight.copy_(weight.half().float())


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
    return choose_exemplars(data.train, data.test, recipe.exemplars, recipe.data.crop_seconds, seed)


def _reset(parameter: torch.nn.Parameter) -> None:
    """Draw a weight of the head anew, so that the seed decides it and not what was constructed before."""
    with torch.no_grad():
        if parameter.dim() > 1:
            torch.nn.init.xavier_uniform_(parameter)
        else:
            parameter.zero_()
