"""Prefix features of a table of recordings, from the cache where it has them.

Shapes: S statistics of the spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.data import Failed, Table, Utterance
from molex_adapt.data.alike import require_alike
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import DataError
from molex_adapt.features.batches import window_batches
from molex_adapt.features.clips import StoredClip, StoredClips, pad
from molex_adapt.features.hearing import name_of_draw
from molex_adapt.features.sets import Features, source_id, take_id
from molex_adapt.features.states import kept_states
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.processes import are_several, gathered, own_part
from molex_adapt.run import Run

_BLOCK = 512
"""Recordings that several processes share among themselves at a time."""


def extract(
    detector: Detector,
    table: Table,
    run: Run = Run(),
    *,
    resident: bool = True,
    states: bool = False,
    trim: bool = True,
) -> tuple[Features, tuple[Failed, ...]]:
    """Prefix features of a table, of the first window of each recording; what cannot be read is returned as failed.

    Of several processes each computes some, and all get the whole. Unless features are `resident` they stay in the
    cache, which must be on and large enough. With `states` they come with the pooled states that a readout reads, if
    there is one. `trim` keeps the cache within its limit; it goes through the whole folder.

    Raises:
        DataError: features should stay in the cache, and it cannot keep them; or another process has other recordings.
    """
    require_alike(table)
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
    found = set.intersection(*gathered(found))
    run.progress.advance(len(found))
    missing = [index for index in range(len(table)) if index not in found]
    failed: list[Failed] = []

    def prefix(wave: Tensor, lengths: Tensor) -> list[Tensor]:
        features, frames = detector.base.prefix(send(wave, detector.device), lengths)
        return [
            clip[:count].clone() for clip, count in zip(features.half().cpu(), frames.tolist(), strict=True)
        ]

    for place, clip in _computed(detector, [table[index] for index in missing], run, failed, prefix):
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
        statistics = _statistics(detector, table, order, keys, cache, run, failed, trim)
        order = sorted(statistics)
    if missing and trim:
        cache.trim()
    items = [table[index] for index in order]
    own = [keys[index] for index in order]
    held: Sequence[Tensor] = tuple(clips[index] for index in order) if resident else ()
    if not resident:
        width = detector.base.prefix_width
        held = StoredClips(tuple(StoredClip(cache, str(key), width) for key in own))
    read = states and detector.head.readout is not None
    return (
        Features(
            held,
            torch.tensor([item.label == "bonafide" for item in items], dtype=torch.bool),
            tuple(source_id(item.source) for item in items),
            tuple(item.attack for item in items),
            torch.stack([statistics[index] for index in order]) if statistics else None,
            kept_states(detector, held, own, cache, run, trim=trim) if read else None,
            tuple(map(take_id, items)),
        ),
        tuple(failed),
    )


def _keys(cache: PrefixCache, detector: Detector, table: Table, workers: int) -> list[str | None]:
    """The cache key of every recording; None without a cache, and for a recording that cannot be read."""
    mine = own_part([1.0] * len(table))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        own = pool.map(lambda at: _key(cache, detector, table[at]), mine)
        found = {at: key for part in gathered(dict(zip(mine, own, strict=True))) for at, key in part.items()}
    return [found[at] for at in range(len(table))]


def _key(cache: PrefixCache, detector: Detector, item: Utterance) -> str | None:
    key = cache.key(item.path, detector.base, detector.recipe.data.window_seconds)
    return key if key is None or not item.draw else sha256(key, name_of_draw(item))


def _statistics(
    detector: Detector,
    table: Table,
    wanted: Sequence[int],
    keys: Sequence[str | None],
    cache: PrefixCache,
    run: Run,
    failed: list[Failed],
    trim: bool,
) -> dict[int, Tensor]:
    """(S,) float32 by index, what the low-level view hears of the first windows, from the cache where it has it.

    Apart from the prefix: they are fast to compute, and whoever turns the view on has the prefix already.
    """
    found: dict[int, Tensor] = {}
    width = detector.heard
    for index in wanted:
        kept = None if keys[index] is None else cache.load(_of_statistics(keys[index], width), width)
        if kept is not None:
            found[index] = torch.from_numpy(kept[0]).float()
    everywhere = set.intersection(*gathered(set(found)))
    found = {index: found[index] for index in everywhere}
    missing = [index for index in wanted if index not in everywhere]
    if not missing:
        return found
    run.progress.start("spectra", len(missing))

    def statistics(wave: Tensor, lengths: Tensor) -> list[Tensor]:
        heard = detector.statistics(send(wave, detector.device), lengths)
        assert heard is not None
        return list(heard.half().cpu())

    for place, own in _computed(detector, [table[index] for index in missing], run, failed, statistics):
        index = missing[place]
        found[index] = own.float()
        if keys[index] is not None:
            cache.store(_of_statistics(keys[index], width), own.numpy()[None])
    if trim:
        cache.trim()
    run.progress.stop()
    return found


def _of_statistics(key: str | None, width: int) -> str:
    """The cache key of what the low-level view heard, beside that of the prefix features."""
    return f"{key}.{width}"


def _computed(
    detector: Detector,
    utterances: list[Utterance],
    run: Run,
    failed: list[Failed],
    compute: Callable[[Tensor, Tensor], list[Tensor]],
) -> Iterator[tuple[int, Tensor]]:
    """Indices, and what is made of each first window (float16 on the CPU), in the order in which it is computed."""
    if not are_several():
        yield from _own(detector, utterances, run, failed, compute)
        return
    # Block by block: what travels between processes is held twice.
    for start in range(0, len(utterances), _BLOCK):
        block = utterances[start : start + _BLOCK]
        mine = own_part([item.seconds or 1.0 for item in block])
        lost: list[Failed] = []
        items = [block[at] for at in mine]
        own = {start + mine[at]: value.numpy() for at, value in _own(detector, items, run, lost, compute)}
        parts = gathered((own, lost))
        order = {str(item.path): at for at, item in enumerate(block)}
        failed += sorted((item for _, part in parts for item in part), key=lambda item: order[item.path])
        for part, _ in parts:
            yield from ((at, torch.from_numpy(value)) for at, value in part.items())


def _own(
    detector: Detector,
    utterances: list[Utterance],
    run: Run,
    failed: list[Failed],
    compute: Callable[[Tensor, Tensor], list[Tensor]],
) -> Iterator[tuple[int, Tensor]]:
    """The same by this process."""
    for part in _parts(detector, utterances, run, failed):
        wave, lengths = pad([row for _, row in part])
        yield from zip((place for place, _ in part), compute(wave, lengths), strict=True)


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
