"""By how much the calibration's offset rose when each expert came: what is taken back when it goes."""

from __future__ import annotations

from pathlib import Path

from molex_adapt.registry import layout
from molex_adapt.registry.draft import GenerationDraft
from molex_adapt.registry.records import GenerationRecord, RegistryRecord


def raises_of(root: Path, record: RegistryRecord, generation: GenerationRecord) -> dict[str, float]:
    """By expert, nats; 0 of those that came together or first, and without those of which nobody knows.

    An ancestor of which it would have to be read may have been purged.
    """
    if generation.raised is not None:
        return dict(generation.raised)
    known = {found.number: found for found in layout.readable_generations(root, record)}
    found = {name: _walked(known, generation, name) for name in generation.names}
    return {name: raised for name, raised in found.items() if raised is not None}


def _walked(known: dict[int, GenerationRecord], generation: GenerationRecord, name: str) -> float | None:
    came, before = generation, known.get(generation.parent or 0)
    while before is not None and name in before.names:
        came, before = before, known.get(before.parent or 0)
    if before is None:
        return 0.0 if came.parent is None else None
    if [*before.names, name] != came.names:
        return 0.0
    scales = {found.calibration.scale for found in (before, came, generation)}
    return came.calibration.offset - before.calibration.offset if len(scales) == 1 else 0.0


def raises_after(root: Path, record: RegistryRecord, new: GenerationDraft) -> dict[str, float]:
    """Those of a generation that is to be written."""
    if new.raised is not None:
        return {name: raised for name, raised in new.raised.items() if name in new.experts}
    if new.parent is None:
        return dict.fromkeys(new.experts, 0.0)
    parent = layout.read_generation(root, new.parent)
    scale, offset = new.calibration
    if scale != parent.calibration.scale:  # fitted anew: what it rose by before is not in it
        return dict.fromkeys(new.experts, 0.0)
    before = raises_of(root, record, parent)
    came = [name for name in new.experts if name not in parent.names]
    alone = len(came) == 1 and new.experts == [*parent.names, *came]
    rise = offset - parent.calibration.offset if alone else 0.0
    return {name: raised for name, raised in before.items() if name in new.experts} | dict.fromkeys(
        came, rise
    )
