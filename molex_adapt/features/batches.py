"""Batches of windows of similar length. Recordings are decoded while the model works on earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock

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
"""Recordings that are decoded ahead and then sorted by length: enough that those of one length meet."""
_SECONDS_AHEAD = 1800.0
"""Audio that is decoded ahead; bounds memory (115 MB) where recordings are long, as their number does where not."""


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
    counts: dict[int, int] | None = None,
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Decoded and prepared windows, each with the index of its utterance, in batches of similar length.

    With `heard`, recordings are listened to: what is heard comes in there by index, and what is no recording of speech
    fails. `counts` takes the number of windows of each. Memory does not grow with the number of recordings.
    """
    prepare = partial(_decoded if heard is None else _listened, detector)
    longest = batch_seconds(detector.device) * SAMPLE_RATE
    with ThreadPoolExecutor(max(1, run.workers)) as pool:
        ahead = _Ahead(pool, prepare, utterances)
        windows: list[tuple[int, NDArray[np.float32]]] = []
        recordings = 0
        for index, future in ahead:
            try:
                found, what = future.result()
                windows += [(index, row) for row in (found[:1] if first_window else found)]
                if heard is not None and what is not None:
                    heard[index] = what
                if counts is not None:
                    counts[index] = len(found)
            except AudioError as error:
                failed.append(Failed(str(utterances[index].path), str(error)))
            recordings += 1
            full = (
                recordings == _READ_AHEAD
                or sum(len(row) for _, row in windows) > _SECONDS_AHEAD * SAMPLE_RATE
            )
            if full or index + 1 == len(utterances):
                for group in length_batches([len(row) for _, row in windows], longest):
                    yield [windows[at] for at in group]
                run.progress.advance(recordings)
                windows, recordings = [], 0


class _Ahead:
    """Recordings in their order as futures of what is prepared of them, a bounded number and length ahead."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        prepare: Callable[[Utterance], _Prepared],
        utterances: Sequence[Utterance],
    ) -> None:
        self._pool, self._prepare, self._utterances = pool, prepare, utterances
        self._pending: deque[Future[_Prepared]] = deque()
        self._submitted = 0
        self._held = 0.0
        self._lock = Lock()

    def __iter__(self) -> Iterator[tuple[int, Future[_Prepared]]]:
        for index in range(len(self._utterances)):
            self._submit()
            future = self._pending.popleft()
            yield index, future
            self._count(-_seconds(future))

    def _submit(self) -> None:
        """At least one, and more while there is room for more."""
        while self._submitted < len(self._utterances) and (
            not self._pending or (len(self._pending) < _READ_AHEAD and self._held < _SECONDS_AHEAD)
        ):
            future = self._pool.submit(self._prepare, self._utterances[self._submitted])
            future.add_done_callback(lambda done: self._count(_seconds(done)))
            self._pending.append(future)
            self._submitted += 1

    def _count(self, seconds: float) -> None:
        with self._lock:  # decoding threads count too
            self._held += seconds


def _seconds(future: Future[_Prepared]) -> float:
    if future.cancelled() or future.exception() is not None:
        return 0.0
    return sum(map(len, future.result()[0])) / SAMPLE_RATE


def _decoded(detector: Detector, item: Utterance) -> _Prepared:
    return detector.prepare(decode(item.path)), None


def _listened(detector: Detector, item: Utterance) -> _Prepared:
    wave, heard = listen(item.path)
    return detector.prepare(wave), heard
