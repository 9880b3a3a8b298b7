"""Pooled states of the frozen base, which the readout reads: beside prefix features in the cache.

Shapes: N recordings, F_i frames of one, C values of a frame, P pooled states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.features.batches import batch_seconds, length_batches
from molex_adapt.features.clips import pad_clips
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.processes import gathered, place
from molex_adapt.run import Run


def kept_states(
    detector: Detector,
    clips: Sequence[Tensor],
    keys: Sequence[str | None],
    cache: PrefixCache,
    run: Run,
    *,
    trim: bool = True,
) -> Tensor:
    """(N, P) float16 of whole clips, from the cache where it has them; what is computed goes there at once.

    Of several processes each computes some, and all get the whole.

    Args:
        detector: whose base; the experts are silent.
        clips: N tensors (F_i, C) of prefix features.
        keys: N names of the clips in the cache, None where they are not kept.
        cache: theirs.
        run: who hears of the progress.
        trim: keep the cache within its limit, where anything was computed.
    """
    found: dict[int, NDArray[np.float16]] = {}
    for index, key in enumerate(keys):
        kept = None if key is None else cache.load(_of_states(key, detector), detector.pooled_width)
        if kept is not None:
            found[index] = kept[0]
    everywhere = set.intersection(*gathered(set(found)))
    missing = [index for index in range(len(clips)) if index not in everywhere]
    if missing:
        run.progress.start("states", len(missing))
        for part in gathered(_computed(detector, clips, keys, missing, cache, run)):
            found |= part
        run.progress.stop()
        if trim:
            cache.trim()
    rows = torch.empty(len(clips), detector.pooled_width, dtype=torch.float16)
    for index, row in found.items():
        rows[index] = torch.from_numpy(row)
    return rows


def _computed(
    detector: Detector,
    clips: Sequence[Tensor],
    keys: Sequence[str | None],
    missing: Sequence[int],
    cache: PrefixCache,
    run: Run,
) -> dict[int, NDArray[np.float16]]:
    """This process's part of what is missing, by index."""
    rank, count = place()
    groups = [[index] for index in missing]
    if detector.device.type != "cpu":  # why not there: see `features.extract`
        budget = batch_seconds(detector.device) * SAMPLE_RATE / FRAME_SAMPLES
        lengths = [len(clips[index]) for index in missing]
        groups = [[missing[at] for at in group] for group in length_batches(lengths, budget)]
    found: dict[int, NDArray[np.float16]] = {}
    for group in groups[rank::count]:
        features, frames = pad_clips([clips[index] for index in group])
        rows = detector.pooled_states(send(features, detector.device), frames).half().cpu().numpy()
        for index, row in zip(group, rows, strict=True):
            found[index] = row
            if (key := keys[index]) is not None:
                cache.store(_of_states(key, detector), row[None])
        run.progress.advance(len(group))
    return found


def _of_states(key: str, detector: Detector) -> str:
    """The cache key of a recording's pooled states: unlike the prefix, they depend on the blocks' number format."""
    return f"{key}.states-{str(detector.base.dtype).removeprefix('torch.')}"
