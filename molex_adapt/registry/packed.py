"""All experts of a generation in one memory-mapped file in the user's cache, so that loading many costs what few cost.

The registry stays the truth: a packed file is made from its checked experts, is named after their hashes, sizes and
times of change, and is a miss as soon as one of them differs. Deleting it costs one slower load.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molex_adapt.atomic import replacing
from molex_adapt.cache import packed_files, packed_path
from molex_adapt.digest import Digest
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.registry import layout
from molex_adapt.registry.records import GenerationRecord

WORTHWHILE = 16
"""Experts from which packing pays."""

KEPT = 4
"""Packed files kept; the one unused for longest goes first."""

_FORMAT = "1"


@dataclass(frozen=True)
class Packed:
    """Experts of one generation, in router order, and `tables` in the form of `Mixture.tables`."""

    specs: list[ExpertSpec]
    tables: dict[str, tuple[Tensor, Tensor]]


def load(root: Path, generation: GenerationRecord) -> Packed | None:
    """The packed experts of a generation, memory-mapped; None where there are none, or not those."""
    path = _path(root, generation)
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            specs = [ExpertSpec(*item) for item in json.loads(file.metadata()["experts"])]
            layers = sorted({name.rpartition(".")[0] for name in file.keys()})  # noqa: SIM118
            tables = {
                layer: (file.get_tensor(f"{layer}.a"), file.get_tensor(f"{layer}.b")) for layer in layers
            }
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return None
    with suppress(OSError):  # a cache that may only be read serves as well
        os.utime(path)
    return Packed(specs, tables) if [spec.name for spec in specs] == generation.names else None


def keep(root: Path, generation: GenerationRecord, mixture: Mixture) -> None:
    """Pack a mixture just loaded; a full disk or a folder that cannot be written only means that nothing is kept."""
    path = _path(root, generation)
    if path is None:
        return
    tensors = {}
    for layer, tables in mixture.tables().items():
        for part, table in zip("ab", tables, strict=True):
            half = table.half()
            tensors[f"{layer}.{part}"] = half if torch.equal(half.float(), table.float()) else table
    experts = json.dumps([[spec.name, spec.rank, spec.alpha] for spec in mixture.specs])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=False) as staged:
            save_file(tensors, staged, {"experts": experts})
        for old in sorted(packed_files(), key=lambda file: file.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, SafetensorError):
        return


def _path(root: Path, generation: GenerationRecord) -> Path | None:
    if len(generation.experts) < WORTHWHILE:
        return None
    digest = Digest(_FORMAT)
    for entry in generation.experts:
        folder = layout.expert_folder(root, entry.name)
        digest.add(f"\n{entry.name} {entry.sha256}")
        for name in (layout.ADAPTER, layout.EXPERT):
            try:
                found = (folder / name).lstat()
            except OSError:
                return None
            digest.add(f" {found.st_mode} {found.st_size} {found.st_mtime_ns} {found.st_ino}")
    return packed_path(str(digest))
