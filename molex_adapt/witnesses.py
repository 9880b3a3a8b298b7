"""The witnesses of a stored readout: their names, and a head without those of one expert. Arrays alone, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BETWEEN = "/"
"""Between an expert's name and its attack's in the name of a witness; an expert's name has none."""
_PREFIX = "readout."


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
    if f"{_PREFIX}names" not in found:
        return found
    names = names_of(found[f"{_PREFIX}names"])
    kept = [at for at, name in enumerate(names) if name.split(BETWEEN)[0] != expert]
    for name in ("weights", "scales"):
        found[f"{_PREFIX}{name}"] = found[f"{_PREFIX}{name}"][kept]
    found[f"{_PREFIX}names"] = bytes_of([names[at] for at in kept])
    return found
