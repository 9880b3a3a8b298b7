"""Prefix features of a table of recordings, from the cache where it has them.

Shapes: S statistics of the spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
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
    found: set[int] = set()
    for index, key in enumerate(keys):
        kept = None if key is None else cache.load(key, detector.base.prefix_width, mapped=not resident)
        if kept is not None:
            found.add(index)
            if resident:
                clips[index] = torch.from_numpy(kept)
    run.progress.advance(len(found))
    missing = [index for index in range(len(table)) if index not in found]
    failed: list[Failed] = []
    for place, clip in _computed(detector, [table[index] for index in missing], run, failed):
        index = missing[place]
        found.add(index)
        if (key := keys[index]) is not None:
            cache.store(key, clip.numpy())
        if resident:
            clips[index] = clip
        elif key is None or not cache.holds(key):
            raise DataError(
                f"features cannot be kept in {cache.folder}: free some space there or name another folder by "
                "MOLEX_CACHE. With MOLEX_CACHE=off they are computed anew for every batch"
            )
    run.progress.stop()
    order = sorted(found)
    statistics: dict[int, Tensor] = {}
    if detector.head.readout is not None:
        statistics = _statistics(detector, table, order, keys, cache, run, failed)
        order = sorted(statistics)
    if missing:
        cache.trim()
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


def _statistics(
    detector: Detector,
    table: Table,
    wanted: Sequence[int],
    keys: Sequence[str | None],
    cache: PrefixCache,
    run: Run,
    failed: list[Failed],
) -> dict[int, Tensor]:
    """(S,) float32 by index, what the low-level view hears of the first windows, from the cache where it has it.

    Apart from the prefix: they are fast to compute, and whoever turns the view on has the prefix already.
    """
    found: dict[int, Tensor] = {}
    for index in wanted:
        kept = None if keys[index] is None else cache.load(_of_statistics(keys[index]), STATISTICS)
        if kept is not None:
            found[index] = torch.from_numpy(kept[0]).float()
    missing = [index for index in wanted if index not in found]
    if not missing:
        return found
    run.progress.start("spectra", len(missing))
    for part in _parts(detector, [table[index] for index in missing], run, failed):
        wave, lengths = pad([row for _, row in part])
        heard = detector.statistics(send(wave, detector.device), lengths)
        assert heard is not None
        for (place, _), own in zip(part, heard.half().cpu(), strict=True):
            index = missing[place]
            found[index] = own.float()
            if keys[index] is not None:
                cache.store(_of_statistics(keys[index]), own.numpy()[None])
    cache.trim()
    run.progress.stop()
    return found


def _of_statistics(key: str | None) -> str:
    """The cache key of what the low-level view heard, beside that of the prefix features."""
    return f"{key}.{STATISTICS}"


def _computed(
    detector: Detector, utterances: list[Utterance], run: Run, failed: list[Failed]
) -> Iterator[tuple[int, Tensor]]:
    """Indices and (F, C) float16 on the CPU, in the order in which they are computed."""
    for part in _parts(detector, utterances, run, failed):
        wave, lengths = pad([row for _, row in part])
        features, frames = detector.base.prefix(send(wave, detector.device), lengths)
        for (place, _), clip, count in zip(part, features.half().cpu(), frames.tolist(), strict=True):
            yield place, clip[:count].clone()


def _parts(
    detector: Detector, utterances: list[Utterance], run: Run, failed: list[Failed]
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """First windows with the indices of their utterances, as many as are computed at once.

    A CPU chooses its convolution by the shape of the batch, and the last bits depend on the choice. What is kept must
    not depend on what else was missing from the cache: so one recording at a time there, at 1.5 times the cost.
    """
    alone = detector.device.type == "cpu"
    for batch in window_batches(detector, utterances, run, failed, first_window=True):
        yield from [[item] for item in batch] if alone else [batch]
