"""Batches of windows of similar length. Recordings are decoded while the model works on earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Failed, Heard, Utterance, decode, listen
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError
from molex_adapt.run import Run

_SECONDS_ON_CPU, _SECONDS_ELSEWHERE = 24.0, 96.0

_Prepared = tuple[list[NDArray[np.float32]], Heard | None]
"""The windows of a recording, and what was heard if it was listened to."""

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
    heard: dict[int, Heard] | None = None,
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Decoded and prepared windows, each with the index of its utterance, in batches of similar length.

    With `heard`, recordings are listened to: what is heard comes in there by index, and what is no recording of speech
    fails.
    """
    prepare = partial(_decoded if heard is None else _listened, detector)
    with ThreadPoolExecutor(max(1, run.workers)) as pool:
        ahead = _submit(pool, prepare, utterances, 0)
        for start in range(0, len(utterances), _READ_AHEAD):
            now, ahead = ahead, _submit(pool, prepare, utterances, start + _READ_AHEAD)
            windows: list[tuple[int, NDArray[np.float32]]] = []
            for offset, future in enumerate(now):
                try:
                    found, what = future.result()
                    windows += [(start + offset, row) for row in (found[:1] if first_window else found)]
                    if heard is not None and what is not None:
                        heard[start + offset] = what
                except AudioError as error:
                    failed.append(Failed(str(utterances[start + offset].path), str(error)))
            for group in length_batches(
                [len(row) for _, row in windows], batch_seconds(detector.device) * SAMPLE_RATE
            ):
                yield [windows[at] for at in group]
            run.progress.advance(len(now))


def _submit(
    pool: ThreadPoolExecutor,
    prepare: Callable[[Utterance], _Prepared],
    utterances: list[Utterance],
    start: int,
) -> list[Future[_Prepared]]:
    return [pool.submit(prepare, item) for item in utterances[start : start + _READ_AHEAD]]


def _decoded(detector: Detector, item: Utterance) -> _Prepared:
    return detector.prepare(decode(item.path)), None


def _listened(detector: Detector, item: Utterance) -> _Prepared:
    wave, heard = listen(item.path)
    return detector.prepare(wave), heard
