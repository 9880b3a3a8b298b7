"""Batches of windows of similar length. Recordings are decoded while the model works on earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Condition

import numpy as np
import torch
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.data import Failed, Heard, Utterance, listen
from molex_adapt.data.table import AUDIO_DIGITS
from molex_adapt.detector import Detector
from molex_adapt.digest import sha256
from molex_adapt.errors import AudioError
from molex_adapt.features.hearing import hear
from molex_adapt.run import Run

_SECONDS_ON_CPU, _SECONDS_ELSEWHERE = 24.0, 96.0


@dataclass(frozen=True)
class Listened:
    """What is known of a recording that was listened to."""

    heard: Heard
    audio: str
    """As `Utterance.audio`."""
    windows: int


_Prepared = tuple[list[NDArray[np.float32]], Listened | None]
"""The windows of a recording, and what is known of it if it was listened to."""

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
    listened: dict[int, Listened] | None = None,
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Decoded and prepared windows, each with the index of its utterance, in batches of similar length.

    With `listened`, recordings are listened to: what that told comes in there by index, and what is no recording of
    speech fails. Memory does not grow with the number of recordings.
    """
    prepare = partial(_decoded if listened is None else _listened, detector)
    longest = batch_seconds(detector.device) * SAMPLE_RATE
    windows: list[tuple[int, NDArray[np.float32]]] = []
    recordings = 0
    with (
        ThreadPoolExecutor(max(1, run.workers)) as pool,
        _Ahead(pool, prepare, utterances) as ahead,
    ):
        for index, future in ahead:
            try:
                found, what = future.result()
                # A copy of the first: the others would stay in memory with it.
                windows += [
                    (index, row) for row in ([row.copy() for row in found[:1]] if first_window else found)
                ]
                if listened is not None and what is not None:
                    listened[index] = what
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
        self._wanted = 0
        self._held = 0.0
        self._changed = Condition()

    def __enter__(self) -> Iterator[tuple[int, Future[_Prepared]]]:
        return self._futures()

    def __exit__(self, *_: object) -> None:
        """Let nothing wait any more: the pool is about to."""
        with self._changed:
            self._wanted = len(self._utterances)
            self._changed.notify_all()
        for future in self._pending:
            future.cancel()

    def _futures(self) -> Iterator[tuple[int, Future[_Prepared]]]:
        for index in range(len(self._utterances)):
            while self._submitted < min(len(self._utterances), index + _READ_AHEAD):
                self._pending.append(self._pool.submit(self._prepared, self._submitted))
                self._submitted += 1
            with self._changed:
                self._wanted = index
                self._changed.notify_all()
            future = self._pending.popleft()
            yield index, future
            if future.exception() is None:
                self._count(-_seconds(future.result()))

    def _prepared(self, index: int) -> _Prepared:
        """What is prepared of a recording, once there is room for it; the one that is waited for always has."""
        with self._changed:
            self._changed.wait_for(lambda: self._held < _SECONDS_AHEAD or index <= self._wanted)
        found = self._prepare(self._utterances[index])
        self._count(_seconds(found))
        return found

    def _count(self, seconds: float) -> None:
        with self._changed:
            self._held += seconds
            self._changed.notify_all()


def _seconds(prepared: _Prepared) -> float:
    return sum(map(len, prepared[0])) / SAMPLE_RATE


def _decoded(detector: Detector, item: Utterance) -> _Prepared:
    # A chain is for training, which asks for the first window alone; codecs take their time.
    first_of = detector.longest_samples if item.draw else None
    return detector.prepare(hear(item, first_of=first_of)), None


def _listened(detector: Detector, item: Utterance) -> _Prepared:
    wave, heard = listen(item.path)
    windows = detector.prepare(wave)
    return windows, Listened(heard, sha256(wave)[:AUDIO_DIGITS], len(windows))
