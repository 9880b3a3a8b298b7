"""How every method with a LoRA trains: the package's own loop, the joint rates of the recipe, the same active rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from benchmarks.sequence.methods.base import Setting
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.recipe import JointStage, LoraOptions, Recipe
from molex_adapt.run import Run
from molex_adapt.train.loop import Fitted, ParameterGroup, Stage, fit
from molex_adapt.train.losses import development_loss
from molex_adapt.train.pools import Batch, Pool, Sampler
from molex_adapt.train.stages import DEVELOPMENT, SHORTEST_CROP, crop_frames


def equally_active(setting: Setting, readout: bool = False) -> Setting:
    """For a method whose one LoRA acts alone: a rank as large as that of all experts that act together in ours.

    That is the rank of an expert times `router.top_k`; the scale, alpha / rank, stays. It has no readout unless asked.
    """
    recipe = (setting if readout else without_readout(setting)).recipe
    times = recipe.router.top_k
    lora = LoraOptions(
        rank=times * recipe.lora.rank, alpha=times * recipe.lora.alpha, targets=recipe.lora.targets
    )
    return replace(setting, recipe=recipe.model_copy(update={"lora": lora}))


def without_readout(setting: Setting) -> Setting:
    """For a method whose head scores the states themselves, and not what experts add to a readout."""
    recipe = setting.recipe
    head = recipe.head.model_copy(update={"readout": False})
    return replace(setting, recipe=recipe.model_copy(update={"head": head}))


def lengthened(recipe: Recipe, times: int) -> Recipe:
    """The recipe with so many times the steps of joint training, and as much more patience."""
    joint = recipe.joint.model_copy(update={"steps": times * recipe.joint.steps})
    patience = times * recipe.training.patience
    training = recipe.training.model_copy(update={"patience": patience})
    return recipe.model_copy(update={"joint": joint, "training": training})


def fit_weights(
    setting: Setting,
    detector: Detector,
    weights: Sequence[nn.Parameter],
    pools: Sequence[Pool],
    development: Sequence[Features],
    loss: Callable[[Batch], Tensor],
    number: int = 0,
) -> Fitted:
    """The package's own loop over some weights, at the recipe's joint rate.

    Args:
        setting: of the run.
        detector: whose weights they are.
        weights: what moves.
        pools, development: one pool a development set, in the same order.
        loss: of a batch.
        number: of the step; decides chance, together with the setting's seed.
    """
    recipe, seed = setting.recipe, setting.seed + number
    options: JointStage = recipe.joint
    crop = crop_frames(recipe)
    sampler = Sampler(pools, recipe.training.batch_size, crop, seed, round(SHORTEST_CROP * crop))
    develop = development_loss(
        detector,
        [item.cut(2 * recipe.data.crop_seconds) for item in development],
        DEVELOPMENT,
        [pool.share for pool in pools],
    )
    groups = [ParameterGroup(weights, options.learning_rate)]
    stage = Stage("lora", groups, sampler, loss, develop, options, recipe.training.patience)
    return fit(detector, stage, Run(seed=seed, progress=setting.progress))
