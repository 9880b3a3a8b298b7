"""A report whose texts can only be read: names of attacks and conditions may be anybody's, and turn a page around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from molex_adapt.text import visible

_Any = TypeVar("_Any")


def readable(value: _Any) -> _Any:
    """The same with every text in it, keys included, as `text.visible` shows it; numbers stay what they are.

    Args:
        value: a text, or mappings, lists, tuples and dataclasses down to texts and numbers.
    """
    return cast(_Any, _readable(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        # Most lists are long rows of numbers.
        found = value if value and isinstance(value[0], float) else [_readable(item) for item in value]
        return tuple(found) if isinstance(value, tuple) else found
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _readable(getattr(value, item.name)) for item in fields(value)})
    return value
