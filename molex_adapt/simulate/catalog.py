"""Every attack by name, and how to make one from parameters that a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from molex_adapt.errors import RecipeError
from molex_adapt.simulate.attack import Attack
from molex_adapt.simulate.codecs import Aac, AmrNb, Codec2, Gsm, Mp3, Null, Opus
from molex_adapt.simulate.source_filter import FormantShift, Lpc, PhaseVocoder
from molex_adapt.simulate.tts import Espeak, Hibari, Piper
from molex_adapt.simulate.vocoders import GriffinLim, World

_CLASSES: tuple[type[Attack], ...] = (
    *(World, GriffinLim, Lpc, FormantShift, PhaseVocoder),
    *(Codec2, Opus, Mp3, Aac, AmrNb, Gsm),
    *(Espeak, Hibari, Piper),
    Null,
)

ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in _CLASSES}
"""Attack classes by name; each class's fields are its parameters."""


def make_attack(name: str, params: Mapping[str, Any] | None = None) -> Attack:
    """An attack with validated parameters.

    Args:
        name: a key of `ATTACKS`.
        params: parameters that differ from the attack's defaults.

    Raises:
        RecipeError: the name or some parameters are unknown or out of range; all faults together.

    Source: own.
    """
    if name not in ATTACKS:
        raise RecipeError(
            f"There is no attack '{name}'. Expected one of: {', '.join(ATTACKS)}."
            f"{_nearest(name, list(ATTACKS))} Choose one of these names."
        )
    attack = ATTACKS[name]
    try:
        return attack.model_validate(dict(params or {}))
    except ValidationError as error:
        known = list(attack.model_fields)
        faults = [_fault(fault["loc"], fault["msg"], fault["input"], known) for fault in error.errors()]
        raise RecipeError(
            f"The attack '{name}' has {len(faults)} wrong parameter value(s):\n  "
            + "\n  ".join(dict.fromkeys(faults))
            + f"\nExpected parameters: {', '.join(known) or 'none'}. Correct them and run again."
        ) from error


def _fault(location: tuple[int | str, ...], message: str, value: object, known: list[str]) -> str:
    key = str(location[0]) if location else "all parameters"
    if location and key not in known:
        return f"{key} = {value!r}: unknown parameter.{_nearest(key, known)}"
    return f"{key} = {value!r}: {message}"


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
