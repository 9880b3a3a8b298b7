"""Attacks and conditions from names and parameters that a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from molex_adapt.errors import RecipeError

Made = TypeVar("Made", bound=BaseModel)
_ALL = "all parameters"


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
        faults: dict[
            str, list[str]
        ] = {}  # one line for a parameter that may be several things, and is none of them
        for fault in error.errors():
            key = str(fault["loc"][0]) if fault["loc"] else _ALL
            value = (params or {}).get(key, fault["input"])
            faults.setdefault(f"{key} = {value!r}", []).append(_fault(key, fault["msg"], fields))
        raise RecipeError(
            f"The {what} '{name}' has {len(faults)} wrong parameter value(s):\n  "
            + "\n  ".join(f"{given}: {'; or '.join(dict.fromkeys(told))}" for given, told in faults.items())
            + f"\nExpected parameters: {', '.join(fields) or 'none'}. Correct them and run again."
        ) from error


def _fault(key: str, message: str, known: list[str]) -> str:
    return f"unknown parameter.{_nearest(key, known)}" if key not in [*known, _ALL] else message


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
