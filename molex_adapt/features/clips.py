"""Clips, the prefix features of utterances: in memory or in the cache; crops and padding.

Shapes: B utterances, T samples, F frames, F_i of one utterance, C values of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import frames_with_room, samples_with_room
from molex_adapt.errors import DataError
from molex_adapt.prefix_cache import PrefixCache


@dataclass(frozen=True)
class StoredClip:
    """Features of one utterance in a file of the cache."""

    cache: PrefixCache
    key: str
    width: int

    def load(self) -> Tensor:
        """(F, C) float16, mapped; DataError where the file is gone."""
        values = self.cache.load(self.key, self.width, mapped=True)
        if values is None:
            raise DataError(
                f"features that were kept in {self.cache.folder} are gone: another process cleared the cache, or it "
                "outgrew its limit. Raise MOLEX_CACHE_GIB and run the command again; what is still there is used."
            )
        return torch.from_numpy(values)


@dataclass(frozen=True)
class StoredClips(Sequence[Tensor]):
    """Features that stay in the files of the cache, maybe beside others in memory.

    Each file is mapped when its clip is asked for: an operating system maps no more than some 65,000 at a time.
    """

    held: tuple[StoredClip | Tensor, ...]

    def __len__(self) -> int:
        return len(self.held)

    @overload
    def __getitem__(self, at: int) -> Tensor: ...

    @overload
    def __getitem__(self, at: slice) -> StoredClips: ...

    def __getitem__(self, at: int | slice) -> Tensor | StoredClips:
        """(F, C) float16; DataError where the file is gone."""
        if isinstance(at, slice):
            return StoredClips(self.held[at])
        clip = self.held[at]
        return clip.load() if isinstance(clip, StoredClip) else clip


def held_of(clips: Sequence[Tensor]) -> tuple[StoredClip | Tensor, ...]:
    """What stands for each clip, so that no file is mapped: where it is stored, or the tensor in memory."""
    return clips.held if isinstance(clips, StoredClips) else tuple(clips)


def clips_of(held: tuple[StoredClip | Tensor, ...]) -> Sequence[Tensor]:
    """The other way round."""
    in_memory = tuple(clip for clip in held if isinstance(clip, Tensor))
    return in_memory if len(in_memory) == len(held) else StoredClips(held)


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
