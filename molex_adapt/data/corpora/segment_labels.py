"""PartialSpoof's labels of segments: which stretches of a recording are spoofed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molex_adapt.conventions import SPOOF, Seconds
from molex_adapt.data.corpora.corpus import PartListing
from molex_adapt.data.pickled import load_pickled
from molex_adapt.data.table import Stretch, with_columns
from molex_adapt.errors import DataError
from molex_adapt.text import short

_FOLDERS = ("segment_labels", "database/segment_labels")
_NAME = "{part}_seglab_*.npy"
_WRITTEN: dict[str, tuple[Any, Any]] = {
    "U": ("0", "1"),
    "S": (b"0", b"1"),
    **dict.fromkeys("iub", (0, 1)),
}
"""Spoofed and bona fide, by the kind of array."""


def add_stretches(listing: PartListing, roots: Sequence[Path]) -> None:
    """Say of the recordings of a part from when to when they are spoofed, by the finest labels that are there.

    Labels that contradict the protocol (spoofed segments of bona fide speech, or none of a spoofed recording) are left
    out; a remark counts them, and recordings without labels.

    Raises:
        DataError: a file of labels cannot be read.
    """
    path, step = _finest(listing.part or "", roots)
    if path is None:
        looked = f"{_FOLDERS[0]}/{_NAME.format(part=listing.part or 'PART')}"
        listing.remarks.append(f"no labels of segments ({looked}): nothing tells from when to when")
        return
    labels = load_pickled(path)
    stretches: list[tuple[Stretch, ...] | None] = []
    without = wrong = 0
    for name, item in zip(listing.ids, listing.utterances, strict=True):
        found = _stretches(labels[name], step, path, name) if name in labels else None
        without += found is None
        if found is not None and bool(found) != (item.label == SPOOF):
            wrong += 1
            found = None
        stretches.append(found or None)
    listing.utterances = with_columns(listing.utterances, forged=stretches)
    if without:
        listing.remarks.append(f"recordings that {path.name} does not have: {without}")
    if wrong:
        listing.remarks.append(f"recordings whose labels in {path.name} contradict the protocol: {wrong}")


def _finest(part: str, roots: Sequence[Path]) -> tuple[Path | None, Seconds]:
    """The file of labels with the shortest segments, and how long these are."""
    for root in roots:
        for folder in _FOLDERS:
            found: dict[Seconds, Path] = {}
            for path in (root / folder).glob(_NAME.format(part=part)):
                if match := re.fullmatch(r"\d\.\d+", path.stem.rpartition("_")[2]):
                    found[float(match[0])] = path
            if found:
                return found[min(found)], min(found)
    return None, 0.0


def _stretches(labels: Any, step: Seconds, path: Path, name: str) -> tuple[Stretch, ...]:
    """Runs of spoofed segments.

    Raises:
        DataError: a label is neither 0 nor 1.
    """
    signs = np.asarray(labels)
    spoofed_sign, real_sign = _WRITTEN.get(signs.dtype.kind, (None, None))
    spoofed = signs == spoofed_sign
    if spoofed_sign is None or signs.ndim != 1 or not (spoofed | (signs == real_sign)).all():
        raise DataError(
            f"{path}: the labels of {short(name)} are not 0 (spoofed) and 1 (bona fide) alone. Download it again."
        )
    edges = np.flatnonzero(np.diff(spoofed, prepend=False, append=False)).reshape(-1, 2)
    return tuple((round(first * step, 3), round(end * step, 3)) for first, end in edges.tolist())
