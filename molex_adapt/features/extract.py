"""Prefix features of a table of recordings, from the cache where it has them.

Shapes: S statistics of the low-level view.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.data import Failed, Table, Utterance
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features.batches import window_batches
from molex_adapt.features.sets import Features, StoredClips, pad, source_id
from molex_adapt.low_level import STATISTICS
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.run import Run


def extract(
    detector: Detector,
    table: Table,
    run: Run = Run(),
    *,
    resident: bool = True,
) -> tuple[Features, tuple[Failed, ...]]:
    """Prefix features of a table, of the first window of each recording; what cannot be read is returned as failed.

    Unless they are `resident` they stay in the cache, which must be on and large enough.

    Raises:
        DataError: features should stay in the cache, and it cannot keep them.
    """
    run.progress.start("features", len(table))
    cache = PrefixCache.standard(run.cache)
    keys = _keys(cache, detector, table, run.workers)
    clips: dict[int, Tensor] = {}
    statistics: dict[int, Tensor] = {}
    found: set[int] = set()
    for index, key in enumerate(keys):
        kept = None if key is None else cache.load(key, detector.base.prefix_width, mapped=not resident)
        heard = _kept_statistics(cache, key) if detector.head.low_level is not None else None
        if kept is None or (heard is None and detector.head.low_level is not None):
            continue
        found.add(index)
        if resident:
            clips[index] = torch.from_numpy(kept)
        if heard is not None:
            statistics[index] = heard
    run.progress.advance(len(found))
    missing = [index for index in range(len(table)) if index not in found]
    failed: list[Failed] = []
    for place, clip, heard in _computed(detector, [table[index] for index in missing], run, failed):
        index = missing[place]
        found.add(index)
        if (key := keys[index]) is not None:
            cache.store(key, clip.numpy())
        if heard is not None:
            statistics[index] = heard.float()
            if key is not None:
                cache.store(_of_statistics(key), heard.numpy()[None])
        if resident:
            clips[index] = clip
        elif key is None or not cache.holds(key):
            raise DataError(
                f"features cannot be kept in {cache.folder}: free some space there or name another folder by "
                "MOLEX_CACHE, or let them stay in memory: --set data.memory_gib=64"
            )
    if missing:
        cache.trim()
    run.progress.stop()
    order = sorted(found)
    items = [table[index] for index in order]
    return (
        Features(
            tuple(clips[index] for index in order)
            if resident
            else StoredClips(cache, tuple(str(keys[index]) for index in order), detector.base.prefix_width),
            torch.tensor([item.label == "bonafide" for item in items], dtype=torch.bool),
            tuple(source_id(item.source) for item in items),
            tuple(item.attack for item in items),
            torch.stack([statistics[index] for index in order]) if statistics else None,
        ),
        tuple(failed),
    )


def _keys(cache: PrefixCache, detector: Detector, table: Table, workers: int) -> list[str | None]:
    """The cache key of every recording; None without a cache, and for a recording that cannot be read."""
    window = detector.recipe.data.window_seconds
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(lambda item: cache.key(item.path, detector.base, window), table))


def _of_statistics(key: str) -> str:
    """The cache key of what the low-level view heard, beside that of the prefix features."""
    return f"{key}.{STATISTICS}"


def _kept_statistics(cache: PrefixCache, key: str | None) -> Tensor | None:
    """(S,) float32, None where the cache has none."""
    kept = None if key is None else cache.load(_of_statistics(key), STATISTICS)
    return None if kept is None else torch.from_numpy(kept[0]).float()


def _computed(
    detector: Detector, utterances: list[Utterance], run: Run, failed: list[Failed]
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Indices, (F, C) and (S,) float16 on the CPU, in the order in which they are computed."""
    # A CPU chooses its convolution by the shape of the batch, and the last bits depend on the choice. Kept features
    # must not depend on what else was missing from the cache: so one recording at a time there, at 1.5 times the cost.
    alone = detector.device.type == "cpu"
    for batch in window_batches(detector, utterances, run, failed, first_window=True):
        for part in [[item] for item in batch] if alone else [batch]:
            wave, lengths = pad([row for _, row in part])
            wave = send(wave, detector.device)
            features, frames = detector.base.prefix(wave, lengths)
            statistics = detector.statistics(wave, lengths)
            heard = [None] * len(part) if statistics is None else list(statistics.half().cpu())
            for (place, _), clip, count, own in zip(
                part, features.half().cpu(), frames.tolist(), heard, strict=True
            ):
                yield place, clip[:count].clone(), own
