"""Prefix features of many utterances: what stages train on, what exemplars are, what gates measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE, Seconds
from molex_adapt.data import Failed, Table, Utterance, decode
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError
from molex_adapt.prefix_cache import PrefixCache
from molex_adapt.progress import Progress, Silent

BATCH_SECONDS = 48.0
"""Padded audio in one prefix or scoring batch; bounds memory, whatever the lengths."""


@dataclass(frozen=True)
class Features:
    """Prefix features and labels of N utterances of one domain.

    Attributes:
        clips: N tensors (F_i, C) float16, on the CPU.
        bona_fide: (N,) bool.
        sources: N ids of source recordings, as `source_id` makes them.
        attacks: N attack names; None for bona fide.
    """

    clips: tuple[Tensor, ...]
    bona_fide: Tensor
    sources: tuple[str, ...]
    attacks: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: Sequence[int], crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops of at most `crop` frames: (B, F, C) float32 zero-padded and (B,) int64 frames."""
        return pad_clips([random_crop(self.clips[i], crop, generator) for i in indices])

    def pick(self, indices: Sequence[int]) -> Features:
        """The utterances at `indices`, in that order."""
        at = list(indices)
        return Features(
            tuple(self.clips[i] for i in at),
            self.bona_fide[at],
            tuple(self.sources[i] for i in at),
            tuple(self.attacks[i] for i in at),
        )

    def of_attack(self, attack: str) -> Features:
        """All bona fide utterances, and those of one attack."""
        return self.pick([i for i, name in enumerate(self.attacks) if name is None or name == attack])

    def cut(self, seconds: Seconds) -> Features:
        """At most the first `seconds` of each."""
        frames = int(seconds * SAMPLE_RATE) // FRAME_SAMPLES
        return replace(self, clips=tuple(clip[:frames].clone() for clip in self.clips))

    def of_class(self, bona_fide: bool) -> list[int]:
        """Indices of one class."""
        return [int(i) for i in (self.bona_fide == bona_fide).nonzero()[:, 0]]


def source_id(name: str) -> str:
    """16 hexadecimal digits: tells source recordings apart, in memory and on disk, and does not tell their names."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def concatenate(sets: Sequence[Features]) -> Features:
    """All utterances of several sets, in order."""
    return Features(
        tuple(clip for item in sets for clip in item.clips),
        torch.cat([item.bona_fide for item in sets]) if sets else torch.zeros(0, dtype=torch.bool),
        tuple(source for item in sets for source in item.sources),
        tuple(attack for item in sets for attack in item.attacks),
    )


def extract(
    detector: Detector, table: Table, *, workers: int = 1, progress: Progress | None = None
) -> tuple[Features, tuple[Failed, ...]]:
    """Prefix features of a table, each recording cut to the recipe's window; from the cache where it has them.

    Args:
        detector: gives the base.
        table: utterances; unreadable ones are listed as failed, never raised.
        workers: decoding threads.
        progress: listener.
    """
    progress = progress or Silent()
    progress.start("features", len(table))
    cache = PrefixCache.standard()
    keys, kept = _cached(cache, detector, table, workers)
    progress.advance(len(kept))
    missing = [index for index in range(len(table)) if index not in kept]
    failed: list[Failed] = []
    sought = [table[index] for index in missing]
    for batch in _batches(detector, sought, workers, failed, progress, first_window=True):
        rows = [row for _, row in batch]
        wave, lengths = pad(rows)
        features, frames = detector.base.prefix(wave.to(detector.device), lengths.to(detector.device))
        for (place, _), clip, count in zip(batch, features.half().cpu(), frames.tolist(), strict=True):
            index = missing[place]
            kept[index] = clip[:count].clone()
            if (key := keys[index]) is not None:
                cache.store(key, kept[index].numpy())
    if missing:
        cache.trim()
    progress.stop()
    order = sorted(kept)
    found = [table[i] for i in order]
    return (
        Features(
            tuple(kept[i] for i in order),
            torch.tensor([item.label == "bonafide" for item in found], dtype=torch.bool),
            tuple(source_id(item.source) for item in found),
            tuple(item.attack for item in found),
        ),
        tuple(failed),
    )


def _cached(
    cache: PrefixCache, detector: Detector, table: Table, workers: int
) -> tuple[list[str | None], dict[int, Tensor]]:
    """Every recording's key, and the features that are there."""
    base, window = detector.base, detector.recipe.data.window_seconds

    def look(item: Utterance) -> tuple[str | None, Tensor | None]:
        key = cache.key(item.path, base, window)
        clip = None if key is None else cache.load(key, base.prefix_width)
        return key, None if clip is None else torch.from_numpy(clip)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(look, table))
    return [key for key, _ in found], {at: clip for at, (_, clip) in enumerate(found) if clip is not None}


@dataclass(frozen=True)
class ScoredUtterance:
    """One file's score: log-likelihood ratio in nats, higher is more bona fide."""

    utterance: Utterance
    score: float
    seconds: Seconds


def score_table(
    detector: Detector, table: Table, *, workers: int = 1, progress: Progress | None = None
) -> tuple[list[ScoredUtterance], tuple[Failed, ...]]:
    """Score every file of a table, of any length; order is the table's."""
    progress = progress or Silent()
    progress.start("score", len(table))
    failed: list[Failed] = []
    total: dict[int, float] = {}
    samples: dict[int, int] = {}
    for batch in _batches(detector, list(table), workers, failed, progress, first_window=False):
        wave, lengths = pad([row for _, row in batch])
        scores = detector.score(wave.to(detector.device), lengths.to(detector.device)).cpu()
        for (index, row), score in zip(batch, scores.tolist(), strict=True):
            total[index] = total.get(index, 0.0) + score * len(row)
            samples[index] = samples.get(index, 0) + len(row)
    progress.stop()
    scored = [
        ScoredUtterance(table[i], total[i] / samples[i], samples[i] / SAMPLE_RATE) for i in sorted(total)
    ]
    return scored, tuple(failed)


def score_kept(
    detector: Detector, table: Table, *, workers: int = 1, progress: Progress | None = None
) -> tuple[list[ScoredUtterance], tuple[Failed, ...]]:
    """`score_table` by way of `extract`: for recordings that are scored again and again.

    The first time leaves prefix features in the cache, later times start from them. They are in half precision, and
    of a recording longer than the recipe's window only the first window is heard.
    """
    features, failed = extract(detector, table, workers=workers, progress=progress)
    lost = {item.path for item in failed}
    heard = [item for item in table if str(item.path) not in lost]
    scores = detector.calibrate(logits_of(detector, features)).tolist()
    seconds = [len(clip) * FRAME_SAMPLES / SAMPLE_RATE for clip in features.clips]
    return [ScoredUtterance(*item) for item in zip(heard, scores, seconds, strict=True)], failed


@torch.no_grad()
def logits_of(detector: Detector, features: Features) -> Tensor:
    """(N,) logits of whole utterances, on the CPU, in evaluation mode."""
    training = detector.training
    detector.eval()
    logits = torch.zeros(len(features))
    budget = BATCH_SECONDS * SAMPLE_RATE / FRAME_SAMPLES
    for indices in length_batches([len(clip) for clip in features.clips], budget):
        clips, frames = pad_clips([features.clips[i] for i in indices])
        logits[indices] = detector.logit(clips.to(detector.device), frames.to(detector.device)).float().cpu()
    detector.train(training)
    return logits


def pad(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Rows of any length to (B, T) zero-padded float32 and (B,) int64 lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    wave = torch.zeros(len(rows), int(lengths.max()))
    for at, row in enumerate(rows):
        wave[at, : len(row)] = torch.from_numpy(row)
    return wave, lengths


def pad_clips(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Clips (F_i, C) to (B, F, C) zero-padded float32 and (B,) int64 frames."""
    frames = torch.tensor([len(clip) for clip in clips])
    return torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True).float(), frames


def random_crop(clip: Tensor, crop: int, generator: torch.Generator) -> Tensor:
    """`crop` frames from a random place; the whole clip where it is shorter."""
    if len(clip) <= crop:
        return clip
    start = int(torch.randint(len(clip) - crop + 1, (1,), generator=generator))
    return clip[start : start + crop]


def length_batches(lengths: Sequence[float], budget: float) -> Iterator[list[int]]:
    """Indices grouped by similar length, each group's padded total at most `budget` (or a single index)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if group and lengths[index] * (len(group) + 1) > budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


_READ_AHEAD = 256
"""Recordings decoded before they are sorted by length; bounds memory on large tables."""


def _batches(
    detector: Detector,
    utterances: list[Utterance],
    workers: int,
    failed: list[Failed],
    progress: Progress,
    first_window: bool,
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Decoded and prepared windows with their utterance's index, in batches of similar length."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
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
            for group in length_batches([len(row) for _, row in windows], BATCH_SECONDS * SAMPLE_RATE):
                yield [windows[at] for at in group]
            progress.advance(len(now))


def _submit(
    pool: ThreadPoolExecutor, detector: Detector, utterances: list[Utterance], start: int
) -> list[Future[list[NDArray[np.float32]]]]:
    return [
        pool.submit(lambda item: detector.prepare(decode(item.path)), item)
        for item in utterances[start : start + _READ_AHEAD]
    ]


@dataclass(frozen=True)
class OnlineFeatures:
    """Utterances whose prefix is computed anew for every batch, for sets that do not fit into memory.

    A crop is normalised by its own mean and deviation, not by the whole recording's: the only difference to `Features`.
    """

    detector: Detector
    utterances: tuple[Utterance, ...]
    workers: int = 1

    @property
    def bona_fide(self) -> Tensor:
        """(N,) bool."""
        return torch.tensor([item.label == "bonafide" for item in self.utterances], dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.utterances)

    def of_attack(self, attack: str) -> OnlineFeatures:
        """All bona fide utterances, and those of one attack."""
        kept = tuple(item for item in self.utterances if item.attack is None or item.attack == attack)
        return replace(self, utterances=kept)

    def batch(self, indices: Sequence[int], crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops of at most `crop` frames: (B, F, C) and (B,) int64 frames, on the detector's device."""
        base = self.detector.base
        length = (crop - 1) * FRAME_SAMPLES + base.receptive_samples
        places = torch.rand(len(indices), generator=generator).tolist()

        def load(index: int, place: float) -> NDArray[np.float32]:
            item = self.utterances[index]
            spare = (item.seconds or 0.0) - length / SAMPLE_RATE
            start = max(0.0, place * spare)
            return base.prepare(decode(item.path, start=start, duration=length / SAMPLE_RATE))

        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            wave, lengths = pad(list(pool.map(load, indices, places)))
        return base.prefix(wave.to(self.detector.device), lengths.to(self.detector.device))
