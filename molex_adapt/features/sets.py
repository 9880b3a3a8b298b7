"""Prefix features of many utterances with their labels.

Shapes: N utterances, F_i frames of one, C values of a frame, S statistics of the low-level view, P pooled states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from molex_adapt.conventions import FRAME_SAMPLES, NO_CONDITION, SAMPLE_RATE, Seconds
from molex_adapt.data import Table, Utterance
from molex_adapt.digest import Digest, sha256
from molex_adapt.features.clips import StoredClip, clips_of, crop_at, held_of, pad_clips


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
        held = held_of(self.clips)
        return Features(
            clips_of(tuple(held[i] for i in at)),
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
        for clip in held_of(self.clips):
            if isinstance(clip, StoredClip):
                digest.add(clip.key)
            else:
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
        clips_of(tuple(clip for item in sets for clip in held_of(item.clips))),
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
