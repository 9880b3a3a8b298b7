"""Every condition by name, and how to make one from what a user typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from molex_adapt.errors import RecipeError
from molex_adapt.plain import load_yaml
from molex_adapt.simulate.channel import Band, Clip, Level, Noise, Resample, Room
from molex_adapt.simulate.codecs import G722, Aac, ALaw, AmrNb, Gsm, Mp3, MuLaw, Opus, Vorbis
from molex_adapt.simulate.condition import Condition
from molex_adapt.simulate.drawn import Drawn
from molex_adapt.simulate.finish import Finish
from molex_adapt.simulate.parameters import made_of
from molex_adapt.text import shown

_CLASSES: tuple[type[Condition], ...] = (
    *(Opus, Mp3, Aac, Vorbis, AmrNb, Gsm, G722, MuLaw, ALaw),
    *(Band, Resample, Level, Clip, Noise, Room),
    *(Drawn, Finish),
)

CONDITIONS: dict[str, type[Condition]] = {condition.name: condition for condition in _CLASSES}
"""Condition classes by name; each class's fields are its parameters."""

_COMMA = re.compile(r",(?![^\[]*\])")
"""Between parameters, not inside a list."""


def make_condition(name: str, params: Mapping[str, Any] | None = None) -> Condition:
    """A condition with validated parameters.

    Args:
        name: a key of `CONDITIONS`.
        params: parameters that differ from the condition's defaults.

    Raises:
        RecipeError: the name or some parameters are unknown or out of range; all faults together.

    Source: own.
    """
    return made_of("condition", CONDITIONS, name, params)


def read_condition(text: str) -> Condition:
    """The condition that NAME or NAME:key=value,key=value means; values are YAML, such as 6000 or [3, 20].

    Raises:
        RecipeError: it is written otherwise, or as `make_condition`.
    """
    name, colon, rest = text.strip().partition(":")
    pairs = [part.partition("=") for part in _COMMA.split(rest)] if colon else []
    keys = [key.strip() for key, _, _ in pairs]
    if not name or len(set(keys)) < len(keys) or not all(key and sign for key, sign, _ in pairs):
        raise RecipeError(
            f"The condition {shown(text)} cannot be read. Expected NAME, or NAME:key=value,key=value with each key "
            "once, such as opus:bit_rate=6000. Write it so."
        )
    try:
        return make_condition(
            name.strip(), {key: load_yaml(value) for key, (_, _, value) in zip(keys, pairs, strict=True)}
        )
    except ValueError as error:
        raise RecipeError(
            f"The condition {shown(text)} has a value that is no YAML ({error}). Write a number, a word or a list."
        ) from error


def _chain(value: Any) -> Any:
    """One condition or several, as they are or as `read_condition` reads them."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(read_condition(item) if isinstance(item, str) else item for item in several)


Conditions = Annotated[
    tuple[Condition, ...],
    BeforeValidator(_chain),
    PlainSerializer(lambda chain: [condition.record() for condition in chain]),
]
"""A chain of conditions as a parameter: one text or several."""
