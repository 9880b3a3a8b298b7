"""What the readout reads, lessons made of it, and what they came to.

Shapes: N recordings, S statistics of the spectrum, P pooled states; L states (B, F, D) of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

_MOST_VALUES = 1 << 26
"""Of pooled states that are float32 at a time: 256 MiB."""
OWN_WITNESS = 50
"""Training recordings that an attack needs for a witness of its own; smaller ones of a domain share one."""


@dataclass(frozen=True)
class Readings:
    """(N, S) statistics of spectra, and (N, P) pooled states of the frozen base, float32, or float16 as they are kept.

    Rows of statistics may be NaN, where the waveform is gone: then the states speak alone.
    """

    spectrum: Tensor
    states: Tensor

    @property
    def parts(self) -> list[Readings]:
        """Parts that are converted to float32 one after the other, in the memory of the whole; mostly a single one."""
        most = max(1, _MOST_VALUES // self.states.shape[1])
        return [Readings(*views) for views in zip(*(view.split(most) for view in self.views), strict=True)]

    @property
    def views(self) -> tuple[Tensor, Tensor]:
        """Both kinds of features."""
        return self.spectrum, self.states


@dataclass(frozen=True)
class Labels:
    """The truth of N recordings: (N,) bool, N names of attacks, and what divides them.

    `groups` are N names of what must not be on both sides of a division: voices where they are known, else sources.
    """

    bona_fide: Tensor
    attacks: tuple[str | None, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.attacks)

    def of(self, attacks: Sequence[str]) -> Tensor:
        """(N,) mask of the spoofed recordings by these attacks."""
        return torch.tensor([name in attacks for name in self.attacks]) & ~self.bona_fide

    @property
    def has_both_classes(self) -> bool:
        """Whether there is anything to learn."""
        return bool(self.bona_fide.any()) and not bool(self.bona_fide.all())

    @property
    def by_witness(self) -> dict[str, list[str]]:
        """Attacks by witness: its own where there are enough recordings, one for all others of the domain."""
        counts = Counter(name for name in self.attacks if name is not None)
        own = [name for name, count in sorted(counts.items()) if count >= OWN_WITNESS]
        rest = sorted(set(counts) - set(own))
        return {name: [name] for name in own} | ({"+".join(rest): rest} if rest else {})


@dataclass(frozen=True)
class Lesson(Labels):
    """Readings of one split of a domain, and their truth."""

    readings: Readings


Lessons: TypeAlias = Mapping[str, tuple[Lesson, Lesson]]
"""By expert, the training and the development split of its domain."""


@dataclass(frozen=True)
class Learnt:
    """What learning came to.

    Attributes:
        remarks: what could not be learnt, and what was chosen.
        unheard: by expert, (N,) evidence of the whole readout about the training recordings of its domain in nats. New
            witnesses speak of no recording that they were solved from, if there are two sources of it.
        speech: by expert with a witness, the second moments of its domain's bona fide speech in either view, each an
            upper triangle in one row, float16 on the CPU: what the domain brought to the readout's.
    """

    remarks: list[str]
    unheard: dict[str, Tensor]
    speech: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def together(parts: Sequence[Labels]) -> Labels:
    """Those of several parts, in order."""
    return Labels(
        torch.cat([item.bona_fide for item in parts]),
        tuple(name for item in parts for name in item.attacks),
        tuple(name for item in parts for name in item.groups),
    )


def pooled(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean and deviation over the valid frames of L states (B, F, D): (B, 2 L D) float32."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    parts = []
    for state in states:
        # Not a product with the mask: padded frames may hold what times 0 is no number.
        valid = state.float().masked_fill(~mask[..., None], 0.0)
        mean = valid.sum(1) / count
        centred = (valid - mean[:, None]).masked_fill(~mask[..., None], 0.0)
        parts += [mean, (centred.square().sum(1) / count).sqrt()]
    return torch.cat(parts, dim=1)
