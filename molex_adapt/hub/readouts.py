"""Whether the readout in a head that came from the Hub is whole, before any of its witnesses is looked for."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from molex_adapt.errors import RegistryError
from molex_adapt.registry.files import Arrays
from molex_adapt.text import short
from molex_adapt.witnesses import PREFIX, names_of

_OF_READOUT = {"share": 1, "domains": 1, "weights": 2, "scales": 2, "names": 1} | {
    f"of_{view}.{part}": count
    for view in ("spectrum", "states")
    for part, count in (("centre", 1), ("spread", 1), ("basis", 2), ("moments", 1))
}
"""Arrays of a readout, and their number of dimensions."""


def check_readout(head: Arrays, where: str) -> None:
    """Arrays of the right number of dimensions, a name and scales for each witness; else RegistryError.

    A head without a readout passes.
    """
    own = {name.removeprefix(PREFIX): array for name, array in head.items() if name.startswith(PREFIX)}
    if not own:
        return
    wrong = sorted(
        name
        for name in own.keys() | _OF_READOUT
        if name not in own or own[name].ndim != _OF_READOUT.get(name)
    )
    if wrong:
        raise RegistryError(
            f"{where}: {PREFIX}{short(wrong[0], 100)} is {_shape(own.get(wrong[0]))}; a readout has "
            f"{_OF_READOUT.get(wrong[0], 'nothing')} dimension(s) there. Restore the file from a copy or roll back."
        )
    counts = {len(names_of(own["names"])), len(own["weights"]), len(own["scales"])}
    if len(counts) > 1 or own["domains"].size != 1:
        raise RegistryError(
            f"{where}: {len(names_of(own['names']))} names and {len(own['scales'])} scales for {len(own['weights'])} "
            f"witnesses, from {own['domains'].size} counts of domains. Restore the file from a copy or roll back."
        )


def _shape(array: NDArray[Any] | None) -> str:
    return "missing" if array is None else f"of shape {array.shape}"
