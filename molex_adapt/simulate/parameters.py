"""Attacks and conditions from names and parameters that a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from molex_adapt.errors import RecipeError

Made = TypeVar("Made", bound=BaseModel)


def made_of(what: str, known: Mapping[str, type[Made]], name: str, params: Mapping[str, Any] | None) -> Made:
    """One of the `known` classes, which messages call `what`, with validated parameters.

    Raises:
        RecipeError: the name or some parameters are unknown or out of range; all faults together.
    """
    if name not in known:
        raise RecipeError(
            f"There is no {what} '{name}'. Expected one of: {', '.join(known)}."
            f"{_nearest(name, list(known))} Choose one of these names."
        )
    try:
        return known[name].model_validate(dict(params or {}))
    except ValidationError as error:
        fields = list(known[name].model_fields)
        faults = [_fault(fault["loc"], fault["msg"], fault["input"], fields) for fault in error.errors()]
        raise RecipeError(
            f"The {what} '{name}' has {len(faults)} wrong parameter value(s):\n  "
            + "\n  ".join(dict.fromkeys(faults))
            + f"\nExpected parameters: {', '.join(fields) or 'none'}. Correct them and run again."
        ) from error


def _fault(location: tuple[int | str, ...], message: str, value: object, known: list[str]) -> str:
    key = str(location[0]) if location else "all parameters"
    if location and key not in known:
        return f"{key} = {value!r}: unknown parameter.{_nearest(key, known)}"
    return f"{key} = {value!r}: {message}"


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
