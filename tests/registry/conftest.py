"""Registries of a base with 2 blocks of width 8 that exists nowhere: the store itself needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from molex_adapt.registry import BaseRecord, DataRecord, ExpertRecord, GenerationDraft, NewExpert, Store
from molex_adapt.registry.checks import peft_key

BASE = BaseRecord(id="someone/speech", revision="c1423ed0", sha256="ab" * 32, embedded=False)
TARGETS = ["feed_forward.intermediate_dense", "feed_forward.output_dense"]
WIDTH, INNER, BLOCKS = 8, 16, 2


def _expert(name: str, rank: int = 2, base: BaseRecord = BASE, kept: bool = True) -> NewExpert:
    rng = np.random.default_rng(list(name.encode()))
    weights = {}
    for block in range(BLOCKS):
        for target, (wide, out) in zip(TARGETS, ((WIDTH, INNER), (INNER, WIDTH)), strict=True):
            weights[peft_key(block, target, "lora_A")] = rng.normal(size=(rank, wide)).astype(np.float16)
            weights[peft_key(block, target, "lora_B")] = rng.normal(size=(out, rank)).astype(np.float16)
    exemplars = {
        "replay.frames": rng.normal(size=(7, 4)).astype(np.float16),
        "replay.lengths": np.array([3, 4], dtype=np.int32),
        "replay.bona_fide": np.array([1, 0], dtype=np.uint8),
    }
    record = ExpertRecord(
        name=name,
        domain=name,
        rank=rank,
        alpha=4.0,
        targets=TARGETS,
        blocks=BLOCKS,
        base=base,
        data=DataRecord(digest="cd" * 32, counts={"train": {"bonafide": 3, "spoof": 5}}, attacks=["A07"]),
        recipe="lora:\n  rank: 2\n",
        seed=3,
        metrics={name: {"eer": np.float64(0.125), "eer_ci": (0.1, 0.15), "min_dcf": float("nan")}},
        licence="cc-by-4.0",
    )
    return NewExpert(record, weights, exemplars if kept else None)


def _router(experts: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    router = {}
    for block in range(BLOCKS):
        router[f"blocks.{block}.rows"] = rng.normal(size=(experts, WIDTH + 1)).astype(np.float32)
        router[f"blocks.{block}.centre"] = rng.normal(size=WIDTH).astype(np.float32)
        router[f"blocks.{block}.spread"] = np.ones(WIDTH, dtype=np.float32)
    return router


def _draft(parent: int | None, experts: str, *new: NewExpert, **changes: object) -> GenerationDraft:
    content: dict[str, object] = {
        "parent": parent,
        "experts": experts.split(),
        "new_experts": list(new),
        "router": _router(len(experts.split()), seed=parent or 0),
        "head": {"classify.weight": np.full((1, 4), 0.5, dtype=np.float32)},
        "recipe": "lora: {rank: 2}  # kept as it is\n",
        "calibration": (2.0, -0.5),
        "threshold": 0.25,
        "command": "molex-adapt add-expert",
    }
    return GenerationDraft(**(content | changes))  # type: ignore[arg-type]


@pytest.fixture
def base() -> BaseRecord:
    return BASE


@pytest.fixture
def make_expert() -> Callable[..., NewExpert]:
    return _expert


@pytest.fixture
def make_draft() -> Callable[..., GenerationDraft]:
    return _draft


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    """A registry without experts."""
    return Store.create(tmp_path / "registry", BASE)


@pytest.fixture
def store(empty: Store) -> Store:
    """A registry whose generation 1 holds experts `world` and `opus`."""
    empty.add_generation(_draft(None, "world opus", _expert("world"), _expert("opus")), activate=True)
    return empty


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, tuple[bytes, int]]]:
    """Bytes and time of change of every file under a folder."""

    def take(folder: Path) -> dict[str, tuple[bytes, int]]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return take
