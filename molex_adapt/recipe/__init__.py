"""Recipes: everything that decides a result besides the data and the seed.

They are YAML. The resolved YAML is stored with each expert and each generation that it made.
"""

from molex_adapt.recipe.options import (
    FEED_FORWARD,
    AcceptanceOptions,
    DataOptions,
    DemoDomain,
    DemoRecipe,
    ExemplarOptions,
    ExpertStage,
    HeadOptions,
    JointStage,
    LoraOptions,
    Options,
    Recipe,
    RouterOptions,
    RouterStage,
    StageOptions,
    TrainingOptions,
)
from molex_adapt.recipe.reading import (
    dump,
    load,
    parse_overrides,
    validate,
    with_overrides,
    with_structure_of,
)
from molex_adapt.recipe.retired import readable

__all__ = [
    "FEED_FORWARD",
    "AcceptanceOptions",
    "DataOptions",
    "DemoDomain",
    "DemoRecipe",
    "ExemplarOptions",
    "ExpertStage",
    "HeadOptions",
    "JointStage",
    "LoraOptions",
    "Options",
    "Recipe",
    "RouterOptions",
    "RouterStage",
    "StageOptions",
    "TrainingOptions",
    "dump",
    "load",
    "parse_overrides",
    "readable",
    "validate",
    "with_overrides",
    "with_structure_of",
]
