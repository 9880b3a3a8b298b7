"""The witnesses of a stored readout: names, and a head without or with those of one expert. Arrays alone, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BETWEEN = "/"
"""Between an expert's name and its attack's in the name of a witness; an expert's name has none."""
PREFIX = "readout."
"""Of the readout's arrays in a head."""
_OF_EACH = ("weights", "scales")
_FEATURES = tuple(
    f"{PREFIX}of_{view}.{part}" for view in ("spectrum", "states") for part in ("centre", "spread", "basis")
)


def names_of(content: NDArray[np.uint8]) -> tuple[str, ...]:
    """EXPERT/ATTACK of each, from the bytes that hold them, one a line."""
    return tuple(bytes(content.tolist()).decode(errors="replace").split("\n")) if content.size else ()


def bytes_of(names: list[str]) -> NDArray[np.uint8]:
    """The other way round; a line break in a name becomes a space."""
    lines = (name.replace("\n", " ") for name in names)
    return np.frombuffer("\n".join(lines).encode(errors="replace"), np.uint8).copy()


def without(head: Mapping[str, NDArray[Any]], expert: str) -> dict[str, NDArray[Any]]:
    """The arrays of a head without the witnesses of an expert; as they are where it has none."""
    found = dict(head)
    if f"{PREFIX}names" not in found:
        return found
    names = names_of(found[f"{PREFIX}names"])
    kept = [at for at, name in enumerate(names) if name.split(BETWEEN)[0] != expert]
    for name in _OF_EACH:
        found[f"{PREFIX}{name}"] = found[f"{PREFIX}{name}"][kept]
    found[f"{PREFIX}names"] = bytes_of([names[at] for at in kept])
    return found


def of_expert(head: Mapping[str, NDArray[Any]], expert: str) -> list[int]:
    """The places of an expert's witnesses; empty without a readout, and where names and witnesses do not fit."""
    names = names_of(head.get(f"{PREFIX}names", np.zeros(0, np.uint8)))
    if any(len(head.get(f"{PREFIX}{part}", ())) != len(names) for part in _OF_EACH):
        return []
    return [at for at, name in enumerate(names) if name.split(BETWEEN)[0] == expert]


def with_those_of(
    head: Mapping[str, NDArray[Any]], sent: Mapping[str, NDArray[Any]], expert: str, name: str
) -> dict[str, NDArray[Any]] | None:
    """The arrays of a head with the witnesses that an expert has in another one, for an expert called `name` here.

    They are exact where both readouts make the same features of a recording, as those do that began as one mixture.

    Returns:
        None where the other head has none of it, or makes other features.
    """
    places = of_expert(sent, expert)
    alike = all(
        part in head and part in sent and np.array_equal(head[part], sent[part]) for part in _FEATURES
    ) and all(head[f"{PREFIX}{part}"].shape[1:] == sent[f"{PREFIX}{part}"].shape[1:] for part in _OF_EACH)
    if not places or not alike:
        return None
    found = dict(head)
    for part in _OF_EACH:
        found[f"{PREFIX}{part}"] = np.concatenate([head[f"{PREFIX}{part}"], sent[f"{PREFIX}{part}"][places]])
    known, brought = names_of(head[f"{PREFIX}names"]), names_of(sent[f"{PREFIX}names"])
    own = [BETWEEN.join([name, *brought[at].split(BETWEEN)[1:]]) for at in places]
    found[f"{PREFIX}names"] = bytes_of([*known, *own])
    return found
