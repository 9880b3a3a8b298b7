"""Prefix features of many utterances, in memory; crops and padding.

Shapes: F_i frames of one utterance, S statistics of the low-level view, P pooled states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import frames_with_room, samples_with_room
from molex_adapt.conventions import FRAME_SAMPLES, NO_CONDITION, SAMPLE_RATE, Seconds
from molex_adapt.data import Table, Utterance
from molex_adapt.digest import Digest, sha256
from molex_adapt.errors import DataError
from molex_adapt.prefix_cache import PrefixCache


@dataclass(frozen=True)
class StoredClips(Sequence[Tensor]):
    """Features that stay in the files of the cache. Each file is mapped when its clip is asked for."""

    cache: PrefixCache
    keys: tuple[str, ...]
    width: int

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> Tensor: ...

    @overload
    def __getitem__(self, at: slice) -> StoredClips: ...

    def __getitem__(self, at: int | slice) -> Tensor | StoredClips:
        """(F, C) float16; DataError where the file is gone."""
        if isinstance(at, slice):
            return replace(self, keys=self.keys[at])
        values = self.cache.load(self.keys[at], self.width, mapped=True)
        if values is None:
            raise DataError(
                f"features that were kept in {self.cache.folder} are gone: another process cleared the cache, or it "
                "outgrew its limit. Raise MOLEX_CACHE_GIB and run the command again; what is still there is used."
            )
        return torch.from_numpy(values)

    def pick(self, indices: Sequence[int]) -> StoredClips:
        """Those at `indices`."""
        return replace(self, keys=tuple(self.keys[i] for i in indices))


@dataclass(frozen=True)
class Features:
    """Prefix features and labels of N utterances of one domain.

    Attributes:
        clips: N tensors (F_i, C) float16, on the CPU; in memory, or mapped from the cache one by one.
        bona_fide: (N,) bool.
        sources: N ids of source recordings, as `source_id` makes them.
        attacks: N attack names; None for bona fide.
        statistics: (N, S) float32, what the low-level view heard, a row of NaN where it did not; None for no readout.
        states: (N, P) float16, the frozen base's pooled states, a row of NaN where they were not computed in advance;
            None where none were.
        takes: N ids of takes, as `take_id` makes them; empty where nobody knows more than the sources.
    """

    clips: Sequence[Tensor]
    bona_fide: Tensor
    sources: tuple[str, ...]
    attacks: tuple[str | None, ...]
    statistics: Tensor | None = None
    states: Tensor | None = None
    takes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def has_both_classes(self) -> bool:
        """Whether error rates exist on it."""
        return bool(self.bona_fide.any()) and not bool(self.bona_fide.all())

    def batch(self, indices: Sequence[int], crop: int, places: Sequence[float]) -> tuple[Tensor, Tensor]:
        """(B, F, C) zero-padded crops of at most `crop` frames, places as for `crop_at`, and (B,) frames."""
        return pad_clips([crop_at(self.clips[i], crop, at) for i, at in zip(indices, places, strict=True)])

    def pick(self, indices: Sequence[int]) -> Features:
        """The utterances at `indices`, in that order."""
        at = list(indices)
        clips = self.clips
        return Features(
            clips.pick(at) if isinstance(clips, StoredClips) else tuple(clips[i] for i in at),
            self.bona_fide[at],
            tuple(self.sources[i] for i in at),
            tuple(self.attacks[i] for i in at),
            None if self.statistics is None else self.statistics[at],
            None if self.states is None else self.states[at],
            tuple(self.takes[i] for i in at) if self.takes else (),
        )

    def of_attacks(self, attacks: Sequence[str]) -> Features:
        """All bona fide utterances, and those of some attacks."""
        return self.pick([i for i, name in enumerate(self.attacks) if name is None or name in attacks])

    def digest(self) -> str:
        """SHA-256 (hex) of all numbers and labels. For clips that stay in the cache, their keys stand for them."""
        digest = Digest(self.bona_fide.numpy())
        if self.statistics is not None:
            digest.add("statistics", self.statistics.numpy())
        for source, attack in zip(self.sources, self.attacks, strict=True):
            digest.add(f"{source} {attack}\n")
        digest.add(" ".join(self.takes))
        if isinstance(self.clips, StoredClips):
            digest.add(" ".join(self.clips.keys))
        else:
            for clip in self.clips:
                digest.add(f"{tuple(clip.shape)}", clip.numpy())
        return str(digest)

    def cut(self, seconds: Seconds) -> Features:
        """At most the first `seconds` of each utterance; statistics and states remain those of the whole."""
        frames = int(seconds * SAMPLE_RATE) // FRAME_SAMPLES
        return replace(self, clips=tuple(clip[:frames].clone() for clip in self.clips))

    def of_class(self, bona_fide: bool) -> list[int]:
        """Indices of one class."""
        return [int(i) for i in (self.bona_fide == bona_fide).nonzero()[:, 0]]

    def spoken_by(self, voices: Mapping[str, str]) -> tuple[str, ...]:
        """The voice of each utterance, of names by source; its source where that is not known."""
        return tuple(voices.get(source, source) for source in self.sources)


def source_id(name: str) -> str:
    """16 hexadecimal digits that identify a source recording without giving its name away."""
    return sha256(name)[:16]


def take_id(item: Utterance) -> str:
    """What a recording shares with the forged copies that went through the same: nothing but the forgery is between."""
    return source_id(f"{item.source}\n{item.condition or NO_CONDITION}\n{item.draw}")


def voices_of(table: Table) -> dict[str, str]:
    """Speakers by source, of the recordings of a table whose speaker is known."""
    return {source_id(item.source): item.speaker for item in reversed(table.utterances) if item.speaker}


def concatenate(sets: Sequence[Features]) -> Features:
    """All utterances of several sets, in order."""
    takes = tuple(take for item in sets for take in item.takes)
    return Features(
        tuple(clip for item in sets for clip in item.clips),
        torch.cat([item.bona_fide for item in sets]) if sets else torch.zeros(0, dtype=torch.bool),
        tuple(source for item in sets for source in item.sources),
        tuple(attack for item in sets for attack in item.attacks),
        _joined([item.statistics for item in sets], sets),
        _joined([item.states for item in sets], sets),
        takes if len(takes) == sum(map(len, sets)) else (),
    )


def _joined(parts: Sequence[Tensor | None], sets: Sequence[Features]) -> Tensor | None:
    """Those of all sets in one; rows of NaN for a set that has none."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    width = max(part.shape[1] for part in known)
    return torch.cat(
        [
            known[0].new_full((len(item), width), torch.nan) if part is None else part
            for part, item in zip(parts, sets, strict=True)
        ]
    )


def pad(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Rows of any length to (B, T) zero-padded float32, T as for `samples_with_room`, and (B,) int64 lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    wave = torch.zeros(len(rows), samples_with_room(int(lengths.max())))
    for at, row in enumerate(rows):
        wave[at, : len(row)] = torch.from_numpy(row)
    return wave, lengths


def pad_clips(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Clips (F_i, C) to (B, F, C) zero-padded float32, F as for `frames_with_room`, and (B,) int64 frames."""
    frames = torch.tensor([len(clip) for clip in clips])
    longest = frames_with_room(int(frames.max()))
    padded = torch.zeros(len(clips), longest, clips[0].shape[1], device=clips[0].device)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return padded, frames


def crop_at(clip: Tensor, crop: int, place: float) -> Tensor:
    """`crop` frames of a clip, or all of a shorter clip. `place` from 0 to below 1 says where the crop begins."""
    if len(clip) <= crop:
        return clip
    start = int(place * (len(clip) - crop + 1))
    return clip[start : start + crop]
