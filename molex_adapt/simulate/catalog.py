"""Every attack by name, and how to make one from parameters that a user typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molex_adapt.errors import RecipeError
from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.conditions import CONDITIONS, make_condition
from molex_adapt.simulate.null import Null
from molex_adapt.simulate.parameters import made_of
from molex_adapt.simulate.source_filter import FormantShift, Lpc, PhaseVocoder
from molex_adapt.simulate.splice import Splice
from molex_adapt.simulate.tts import Espeak, Hibari, Piper
from molex_adapt.simulate.vocoders import Codec2, GriffinLim, World

_CLASSES: tuple[type[Attack], ...] = (
    *(World, GriffinLim, Lpc, Codec2, FormantShift, PhaseVocoder),
    *(Espeak, Hibari, Piper),
    *(Splice, Null),
)

ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in _CLASSES}
"""Attack classes by name; each class's fields are its parameters."""


def make_attack(name: str, params: Mapping[str, Any] | None = None) -> Attack:
    """An attack with validated parameters.

    Args:
        name: a key of `ATTACKS`.
        params: parameters that differ from the attack's defaults.

    Raises:
        RecipeError: the name is that of a condition; or it or some parameters are unknown or out of range, all faults
            together.

    Source: own.
    """
    if name in CONDITIONS:
        typed = make_condition(name, params)
        raise RecipeError(
            f"{name} is a condition, not an attack: it happens to real and forged recordings alike, and forges none. "
            f"Expected an attack: {', '.join(ATTACKS)}. To put an attack and its bona fide speech through it: "
            f"molex-adapt simulate ATTACK IN OUT --condition {typed}; to see that it is not taken for an attack: "
            f"molex-adapt simulate null IN OUT --condition {typed}"
        )
    return made_of("attack", ATTACKS, name, params)
