"""Batches of windows of similar length. Recordings are decoded while the model works on earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Failed, Utterance, decode
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError
from molex_adapt.run import Run

_SECONDS_ON_CPU, _SECONDS_ELSEWHERE = 24.0, 96.0

_READ_AHEAD = 256
"""Recordings that are decoded at once and then sorted by length; bounds memory on large tables."""


def batch_seconds(device: torch.device) -> float:
    """Seconds of padded audio in one prefix or scoring batch; bounds memory for any lengths.

    Larger batches do not fit the caches of a CPU: 24 s were 1.2 times as fast as 48 s. Smaller ones leave a GPU idle.
    """
    return _SECONDS_ON_CPU if device.type == "cpu" else _SECONDS_ELSEWHERE


def length_batches(lengths: Sequence[float], budget: float) -> Iterator[list[int]]:
    """Groups of indices of similar length. The padded total of a group is at most `budget`, or it has one index."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # In rising order the newest length is the largest, and all of the group are padded to it.
        if group and lengths[index] * (len(group) + 1) > budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def window_batches(
    detector: Detector,
    utterances: list[Utterance],
    run: Run,
    failed: list[Failed],
    first_window: bool,
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Decoded and prepared windows, each with the index of its utterance, in batches of similar length."""
    with ThreadPoolExecutor(max(1, run.workers)) as pool:
        ahead = _submit(pool, detector, utterances, 0)
        for start in range(0, len(utterances), _READ_AHEAD):
            now, ahead = ahead, _submit(pool, detector, utterances, start + _READ_AHEAD)
            windows: list[tuple[int, NDArray[np.float32]]] = []
            for offset, future in enumerate(now):
                try:
                    found = future.result()
                    windows += [(start + offset, row) for row in (found[:1] if first_window else found)]
                except AudioError as error:
                    failed.append(Failed(str(utterances[start + offset].path), str(error)))
            for group in length_batches(
                [len(row) for _, row in windows], batch_seconds(detector.device) * SAMPLE_RATE
            ):
                yield [windows[at] for at in group]
            run.progress.advance(len(now))


def _submit(
    pool: ThreadPoolExecutor, detector: Detector, utterances: list[Utterance], start: int
) -> list[Future[list[NDArray[np.float32]]]]:
    return [
        pool.submit(lambda item: detector.prepare(decode(item.path)), item)
        for item in utterances[start : start + _READ_AHEAD]
    ]
