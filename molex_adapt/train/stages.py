"""The three stages of training: joint, expert, router. Each says what moves and towards what; `loop.fit` moves it.

Shapes: M draws of routing inputs of old domains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError
from molex_adapt.features import Features
from molex_adapt.mixture import ExpertSpec
from molex_adapt.mixture.selftest import check_attached
from molex_adapt.recipe import Recipe, StageOptions
from molex_adapt.train.loop import ParameterGroup, Stage
from molex_adapt.train.losses import (
    balance_loss,
    development_loss,
    domain_loss,
    drift_loss,
    gate_logits,
    logits_and_loss,
)
from molex_adapt.train.opening import gate_loss, open_gates
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.reads import caught_reads

TWIN_LOSS = 1.0
"""Weight of the loss that ranks every recording above its forged copy in the same batch."""
FIRM = 4.0
"""By how much the gate loss weighs more where old domains are rehearsed: nothing else holds them then."""
DEVELOPMENT = 64
"""Utterances of each class and domain in an evaluation on the development split, at least; where evaluations are far
apart, one for every 64 clips of the training between: that costs little, and tells more."""
LEAST = 1e-3
"""Nats by which an evaluation of a new expert, or of routers, must be better than the best before, or training waits
for no longer than `patience`. An expert's gain over the readout must be certain, and its 95 % interval on 200 and 200
recordings reached 0.006 to 0.04 nats to either side (`gain` of `add-expert`): ten such steps would hardly reach it."""
SHORTEST_CROP = 0.5
"""Share of a crop. Where exemplars are replayed, each batch has one crop length between this and the whole: exemplars
are no longer than a crop, and every batch would have the same part of them."""


def append_expert(detector: Detector, name: str, recipe: Recipe, seed: int) -> None:
    """Append an untrained expert to every block, and prove that every adapted layer can be trained.

    Raises:
        ExpertError: the name is taken, or an adapted layer has no effect.
    """
    generator = torch.Generator().manual_seed(seed)
    spec = ExpertSpec(name, recipe.lora.rank, recipe.lora.alpha)
    detector.mixture.add(spec, generator=generator)
    detector.requires_grad_(False)
    try:
        check_attached(detector.mixture, name)
    except ExpertError:
        detector.mixture.remove(name)
        raise


def joint_stage(
    detector: Detector,
    pools: Sequence[Pool],
    development: Sequence[Features],
    recipe: Recipe,
    seed: int = 0,
) -> Stage:
    """Joint stage: all experts, all routers and the head together (the training of MoLEx, arXiv 2509.09175).

    The gates of a single expert open for its attack first, as those of later ones do.
    """
    mixture, options = detector.mixture, recipe.joint
    standardise_routers(detector, pools)  # before anything moves: later generations keep these figures
    if len(mixture.names) == 1:
        open_gates(detector, 0, pools, crop_frames(recipe), seed)
    groups = [
        ParameterGroup(
            [w for name in mixture.names for w in mixture.expert_parameters(name)], options.learning_rate
        ),
        ParameterGroup(
            [row for name in mixture.names for row in mixture.router_rows(name)],
            recipe.training.router_learning_rate,
        ),
        ParameterGroup(list(detector.head.parameters()), options.learning_rate),
    ]

    def loss(batch: Batch) -> Tensor:
        return _routed_loss(detector, batch, recipe) + options.orthogonality * mixture.orthogonality()

    return _stage(detector, groups, pools, loss, development, recipe, "joint", seed)


def expert_stage(
    detector: Detector,
    name: str,
    pools: Sequence[Pool],
    development: Features,
    recipe: Recipe,
    seed: int = 0,
    rehearsed: Tensor | None = None,
) -> Stage:
    """Expert stage: the new expert and its router rows; all other experts, their rows, the head and the base stay.

    A head beside which no expert acts is as it was drawn: it learns with the first one that may. The new expert's
    gates open for its own attack first, in closed form, and stay closed on `rehearsed`, (M, L, D) routing inputs of old
    domains. The development split is the new domain's.
    """
    mixture, options = detector.mixture, recipe.expert
    row = mixture.index(name)
    groups = [
        ParameterGroup(mixture.expert_parameters(name), options.learning_rate),
        ParameterGroup(mixture.router_rows(name), recipe.training.router_learning_rate),
    ]
    others = [other for other in mixture.names if other != name]
    # Beside one that is relative a withdrawn expert says nothing, whatever it taught the head.
    silent = [
        other
        for other in others
        if mixture.is_untrained(other) or (detector.head.relative and mixture.has_withdrawn(other))
    ]
    if others and silent == others:
        groups.append(ParameterGroup(list(detector.head.parameters()), options.learning_rate))
    open_gates(detector, row, pools, crop_frames(recipe), seed, rehearsed)

    def loss(batch: Batch) -> Tensor:
        _, value = logits_and_loss(detector, batch, TWIN_LOSS)
        gate = gate_loss(detector, batch, row, rehearsed)
        return value + (FIRM if rehearsed is not None else 1) * recipe.router.domain_loss * gate

    return _stage(detector, groups, pools, loss, [development], recipe, "expert", seed)


def router_stage(
    detector: Detector,
    pools: Sequence[Pool],
    development: Sequence[Features],
    recipe: Recipe,
    seed: int = 0,
    new: str | None = None,
    rehearsed: Tensor | None = None,
) -> Stage:
    """Router stage: the rows of all routers and nothing else. Where no evaluation is better, the old rows stay.

    `rehearsed`, (M, L, D) routing inputs of old domains, are to be routed as they were, and the gates of the `new`
    expert stay closed on them.
    """
    mixture = detector.mixture
    rows = [row for name in mixture.names for row in mixture.router_rows(name)]
    groups = [ParameterGroup(rows, recipe.training.router_learning_rate)]
    before: list[Tensor] = []
    if rehearsed is not None:
        with torch.no_grad():
            before = [
                gate_logits(router, read)
                for router, read in zip(mixture.routers, rehearsed.unbind(1), strict=True)
            ]

    def loss(batch: Batch) -> Tensor:
        if rehearsed is None or new is None:
            value = _routed_loss(detector, batch, recipe)
            return value if rehearsed is None else value + drift_loss(detector, rehearsed, before)
        _, value = logits_and_loss(detector, batch, TWIN_LOSS)
        value = value + recipe.router.load_balance * balance_loss(detector, batch)
        gate = gate_loss(detector, batch, mixture.index(new), rehearsed)
        return value + FIRM * recipe.router.domain_loss * gate + drift_loss(detector, rehearsed, before)

    return _stage(detector, groups, pools, loss, development, recipe, "router_stage", seed)


def _routed_loss(detector: Detector, batch: Batch, recipe: Recipe) -> Tensor:
    _, value = logits_and_loss(detector, batch, TWIN_LOSS)
    value = value + recipe.router.load_balance * balance_loss(detector, batch)
    return value + recipe.router.domain_loss * domain_loss(detector, batch)


@torch.no_grad()
def standardise_routers(detector: Detector, pools: Sequence[Pool], utterances: int = 256) -> None:
    """Fix the mean and standard deviation of every router's input, from training data under the untrained mixture.

    Later stages keep them: old router rows hold only for the inputs that they were trained on.
    """
    sampler = Sampler(pools, min(utterances, 64), crop_frames(detector.recipe), seed=0)
    reads: list[list[Tensor]] = [[] for _ in detector.mixture.routers]
    for _ in range(max(1, utterances // 64)):
        batch = sampler.draw(detector.device)
        with caught_reads(detector) as caught:
            detector.mixture.hidden_states(batch.features, batch.frames)
        for found, router, (x, mask) in zip(reads, detector.mixture.routers, caught, strict=True):
            read = router.read(x, mask)
            found.append(read[mask] if read.shape[1] > 1 else read[:, 0])
    for found, router in zip(reads, detector.mixture.routers, strict=True):
        values = torch.cat(found).float()
        router.centre.copy_(values.mean(0))
        # A channel that never moves would be divided by zero.
        router.spread.copy_(values.std(0).clamp(min=1e-4))


def crop_frames(recipe: Recipe) -> int:
    """Frames of a training crop."""
    return int(recipe.data.crop_seconds * SAMPLE_RATE) // FRAME_SAMPLES


def _stage(
    detector: Detector,
    groups: Sequence[ParameterGroup],
    pools: Sequence[Pool],
    loss: Callable[[Batch], Tensor],
    development: Sequence[Features],
    recipe: Recipe,
    section: Literal["joint", "expert", "router_stage"],
    seed: int,
) -> Stage:
    options: StageOptions = getattr(recipe, section)
    # Whole long recordings would make early stopping slower than training, and would add little to the figure.
    development = [features.cut(2 * recipe.data.crop_seconds) for features in development]
    crop = crop_frames(recipe)
    utterances = max(DEVELOPMENT, options.evaluate_every * recipe.training.batch_size // 64)
    shortest = crop if section == "joint" else round(SHORTEST_CROP * crop)
    return Stage(
        section.removesuffix("_stage"),
        groups,
        Sampler(pools, recipe.training.batch_size, crop, seed, shortest),
        loss,
        development_loss(detector, development, utterances),
        options,
        recipe.training.patience,
        least=0.0 if section == "joint" else LEAST,
        start_competes=section != "expert",  # an expert that was not trained is none
    )
