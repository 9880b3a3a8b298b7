"""Plain YAML and JSON: reading them takes no more time or memory than the input is worth, and no key comes twice.

What is written is read back as it was, whatever characters it has.
"""

from __future__ import annotations

import json
import math
from typing import Any

import yaml

from molex_adapt.text import short, shown, storable

_MOST_DEPTH = 60
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_IS_LIBYAML = _Dumper is not yaml.SafeDumper
"""PyYAML's own takes four times as long, and loses a U+0085 that it does not escape: it ends a line in YAML."""


class _Loader(_Base):  # type: ignore[misc]
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for place, _ in node.value:
            key = self.construct_object(place, deep=True)
            try:
                twice = key in seen
            except TypeError:  # no key at all; the parser says so
                continue
            if twice:
                raise ValueError(f"{shown(key)} is given twice, again in line {place.start_mark.line + 1}")
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def load_yaml(text: str) -> Any:
    """YAML without anchors, tags beyond the standard ones, repeated keys, or more than 60 levels.

    Raises:
        ValueError: it is none; says why in one line.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        AttributeError,
        KeyError,
    ) as error:
        raise ValueError(short(error, 300) or type(error).__name__) from None


def for_yaml(value: Any) -> Any:
    """Numpy scalars and arrays, tuples, mappings, paths: to what `dump_yaml` can write and is read back equal.

    A number that is not finite becomes None: "not measured".
    """
    if isinstance(value, dict):
        return {storable(str(key)): for_yaml(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [for_yaml(item) for item in value]
    if hasattr(value, "tolist"):
        return for_yaml(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | None) else storable(str(value))


def dump_yaml(content: Any, width: int = 80) -> str:
    """YAML in the order of the keys, in lines of about so many characters.

    Raises:
        UnicodeEncodeError: a text holds lone surrogates, see `for_yaml`.
    """
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=_IS_LIBYAML, width=width))


def load_json(content: str | bytes) -> Any:
    """JSON without repeated keys.

    Raises:
        ValueError: it is none; says why in one line.
    """
    try:
        return json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(short(error, 300)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{shown(key)} is given twice")
        found[key] = value
    return found


def _check_events(text: str) -> None:
    # The parser proper is recursive and written in C: depth is checked on the flat event stream first.
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it refers to an anchor")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MOST_DEPTH:
            raise ValueError(f"it nests deeper than {_MOST_DEPTH} levels")
