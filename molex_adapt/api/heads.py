"""Under which head an expert was trained, and what is to be said where it comes under another one."""

from __future__ import annotations

from molex_adapt.registry import ExpertRecord
from molex_adapt.registry.files import Arrays
from molex_adapt.witnesses import PREFIX, head_digest, of_expert

_OTHER_HEAD = (
    "it was trained under another head than the one that it has here: it may serve worse than its card says. "
    "Measure it on recordings of its domain (molex-adapt evaluate) before relying on it"
)
_NO_WITNESSES = (
    "it brings no witnesses: the readout here learns nothing of its attacks from it. Recordings of the domain teach "
    "it: molex-adapt add-expert"
)
_NO_HEAD = "it was not trained for this head: measure it on recordings of its domain before relying on it"


def trained_under(sent: ExpertRecord, head: Arrays | None) -> str | None:
    """The digest of the head that an expert was trained under; None where nobody knows.

    Before records said it, what had not been pulled before came with that head; a stock adapter has no recipe.
    """
    if sent.head_sha256 is not None or head is None or sent.origin is not None or not sent.recipe:
        return sent.head_sha256
    return head_digest(head)


def about_head(record: ExpertRecord, head: Arrays) -> list[str]:
    """What its record says against a head."""
    if record.head_sha256 is None:
        return [_NO_HEAD]
    return [] if record.head_sha256 == head_digest(head) else [_OTHER_HEAD]


def about_witnesses(name: str, head: Arrays) -> list[str]:
    """Of an expert that has none in a readout that is there."""
    has_readout = any(key.startswith(PREFIX) for key in head)
    return [_NO_WITNESSES] if has_readout and not of_expert(head, name) else []
