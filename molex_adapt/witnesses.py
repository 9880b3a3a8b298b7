"""The witnesses of a stored readout: names, and a head without or with those of one expert. Arrays alone, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import SPEECH
from molex_adapt.digest import sha256

BETWEEN = "/"
"""Between an expert's name and its attack's in the name of a witness; an expert's name has none."""
PREFIX = "readout."
"""Of the readout's arrays in a head."""
_OF_EACH = ("weights", "scales")
_FEATURES = tuple(
    f"{PREFIX}of_{view}.{part}" for view in ("spectrum", "states") for part in ("centre", "spread", "basis")
)


_DOMAINS = f"{PREFIX}domains"
_VIEWS = ("spectrum", "states")


def speech_arrays(
    head: Mapping[str, NDArray[Any]], speech: Sequence[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What is kept with an expert of its domain's bona fide speech in both views of a head's readout.

    `speech.spectrum` and `speech.states`, each a triangle of second moments, and `speech.features` (8,) bytes, which
    tell readouts apart that make other features.
    """
    kept = {f"{SPEECH}{view}": own for view, own in zip(_VIEWS, speech, strict=True)}
    return kept | {f"{SPEECH}features": _features_of(head)}


def trained_part(head: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What of a head experts are trained under: all but its readout."""
    return {key: array for key, array in head.items() if not key.startswith(PREFIX)}


def head_digest(head: Mapping[str, NDArray[Any]]) -> str:
    """The sha256 of what of a head experts are trained under."""
    parts = sorted(trained_part(head).items())
    return sha256(
        *(part for key, array in parts for part in (f"{key} {array.shape} ", array.astype("<f4", order="C")))
    )


def names_of(content: NDArray[np.uint8]) -> tuple[str, ...]:
    """EXPERT/ATTACK of each, from the bytes that hold them, one a line."""
    return tuple(bytes(content.tolist()).decode(errors="replace").split("\n")) if content.size else ()


def attack_of(witness: str) -> str | None:
    """The attack that a witness knows, in lower case; None for the one that knows any."""
    expert, _, attack = witness.partition(BETWEEN)
    return attack.lower() if expert else None


def owner_of(witness: str) -> str:
    """The expert of a witness; empty for the one that knows any attack."""
    return witness.partition(BETWEEN)[0]


def labels_of(witnesses: Sequence[str]) -> list[str]:
    """What witnesses are called where they stand side by side: by their attack alone where no two share its name."""
    attacks = [name.partition(BETWEEN)[2] for name in witnesses]
    return [
        "any attack" if attack_of(name) is None else attack if attacks.count(attack) == 1 else name
        for name, attack in zip(witnesses, attacks, strict=True)
    ]


def bytes_of(names: list[str]) -> NDArray[np.uint8]:
    """The other way round; a line break in a name becomes a space."""
    lines = (name.replace("\n", " ") for name in names)
    return np.frombuffer("\n".join(lines).encode(errors="replace"), np.uint8).copy()


def without(
    head: Mapping[str, NDArray[Any]], expert: str, kept: Mapping[str, NDArray[Any]] | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a head without the witnesses of an expert, and without what its domain brought to the moments.

    As they are where it has no witness. The moments stay where its statistics, `kept`, say nothing of them, or are of
    other features.
    """
    has_some = bool(of_expert(head, expert))
    found = dict(head)
    if f"{PREFIX}names" not in found:
        return found
    names = names_of(found[f"{PREFIX}names"])
    rest = [at for at, name in enumerate(names) if owner_of(name) != expert]
    for name in _OF_EACH:
        found[f"{PREFIX}{name}"] = found[f"{PREFIX}{name}"][rest]
    found[f"{PREFIX}names"] = bytes_of([names[at] for at in rest])
    return found | (_with_speech(head, kept, -1) if has_some else {})


def brought_speech(head: Mapping[str, NDArray[Any]], kept: Mapping[str, NDArray[Any]] | None) -> bool:
    """Whether an expert's statistics say what its domain brings to the moments of a head, of the same features."""
    if kept is None or f"{SPEECH}features" not in kept or _DOMAINS not in head:
        return False
    alike = np.array_equal(kept[f"{SPEECH}features"], _features_of(head))
    return alike and all(head[_moments(view)].shape == kept[f"{SPEECH}{view}"].shape for view in _VIEWS)


def of_expert(head: Mapping[str, NDArray[Any]], expert: str) -> list[int]:
    """The places of an expert's witnesses; empty without a readout, and where names and witnesses do not fit."""
    names = names_of(head.get(f"{PREFIX}names", np.zeros(0, np.uint8)))
    if any(len(head.get(f"{PREFIX}{part}", ())) != len(names) for part in _OF_EACH):
        return []
    return [at for at, name in enumerate(names) if owner_of(name) == expert]


def with_those_of(
    head: Mapping[str, NDArray[Any]],
    sent: Mapping[str, NDArray[Any]],
    expert: str,
    name: str,
    kept: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, NDArray[Any]] | None:
    """The arrays of a head with the witnesses that an expert has in another one, for an expert called `name` here.

    What its domain's bona fide speech brings to the moments comes with them, where its statistics, `kept`, have it.

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
    return found | _with_speech(head, kept, +1)


def only_those_of(
    head: Mapping[str, NDArray[Any]],
    expert: str,
    name: str,
    kept: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[dict[str, NDArray[Any]], int]:
    """The arrays of a head with the witnesses of one expert, called `name` here, and that for any attack.

    Of real speech it has then what the expert's domain brought, where its statistics, `kept`, have it; else all stays,
    or nothing does where the expert has no witness: nothing in it is the expert's then.

    Returns:
        The arrays, and how many witnesses of other experts they are without.
    """
    places, known = of_expert(head, expert), names_of(head.get(f"{PREFIX}names", np.zeros(0, np.uint8)))
    others = [at for at, own in enumerate(known) if owner_of(own) not in ("", expert)]
    if not places and not others:  # published, or nothing was learnt
        return dict(head), 0
    chosen = [*of_expert(head, ""), *places]
    found = {**head, **{f"{PREFIX}{part}": head[f"{PREFIX}{part}"][chosen] for part in _OF_EACH}}
    own = [
        BETWEEN.join([name, *known[at].split(BETWEEN)[1:]]) if at in places else known[at] for at in chosen
    ]
    found[f"{PREFIX}names"] = bytes_of(own)
    if kept is not None and brought_speech(head, kept):
        found[_DOMAINS] = np.ones(1, np.float32)
        found |= {_moments(view): kept[f"{SPEECH}{view}"].astype(np.float32) for view in _VIEWS}
    elif not places:
        found[_DOMAINS] = np.zeros(1, np.float32)
        found |= {_moments(view): np.zeros_like(head[_moments(view)]) for view in _VIEWS}
    return found, len(others)


def domains_of(head: Mapping[str, NDArray[Any]]) -> int:
    """Of how many domains' real speech a head has the moments; 0 without a readout."""
    return int(head[_DOMAINS][0]) if _DOMAINS in head else 0


def _with_speech(
    head: Mapping[str, NDArray[Any]], kept: Mapping[str, NDArray[Any]] | None, sign: int
) -> dict[str, NDArray[Any]]:
    """Moments and number of domains with one more (+1) or less (-1); empty where its part is not known."""
    if kept is None or not brought_speech(head, kept):
        return {}
    count = int(head[_DOMAINS][0])
    left = max(0, count + sign)
    found = {_DOMAINS: np.array([left], np.float32)}
    for view in _VIEWS:
        own = kept[f"{SPEECH}{view}"].astype(float)
        total = head[_moments(view)].astype(float) * count + sign * own
        found[_moments(view)] = (total / max(1, left)).astype(np.float32)
    return found


def _moments(view: str) -> str:
    return f"{PREFIX}of_{view}.moments"


def _features_of(head: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = sha256(*(np.ascontiguousarray(head[part]) for part in _FEATURES))
    return np.frombuffer(bytes.fromhex(digest[:16]), np.uint8)
