"""What routers read of a domain, kept as Gaussians instead of recordings, and drawn again for later training.

A Gaussian of utterance means has no frame and no utterance in it. Draws stand for the speech of old domains wherever
only the routers are concerned: a new expert's gates learn to stay closed on them.

Shapes: D the width of a router's input, R directions, M draws.

Source: pseudo-rehearsal, Robins (Connection Science 7, 1995); own: of routing inputs, a Gaussian for every block and
class, whose covariance is its first directions and a diagonal (a factor model by principal components).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

DIRECTIONS = 16
"""Directions of a covariance that are kept; 250 utterances tell no more of 256."""


@dataclass(frozen=True)
class Gaussian:
    """Standardised routing inputs of one class of speech, in every block.

    Attributes:
        mean: (L, D) float32.
        directions: (L, R, D), principal directions of the covariance, each as long as its deviation.
        rest: (L, D), variance that is left beside these.
        utterances: how many it was fitted to.
    """

    mean: Tensor
    directions: Tensor
    rest: Tensor
    utterances: int

    @classmethod
    def fit(cls, reads: Tensor, directions: int = DIRECTIONS) -> Gaussian:
        """Fit to (N, L, D) routing inputs, at least two utterances."""
        values = reads.double()
        mean = values.mean(0)
        apart = (values - mean).transpose(0, 1) / (len(values) - 1) ** 0.5  # (L, N, D)
        _, lengths, axes = torch.linalg.svd(apart, full_matrices=False)
        found = lengths[:, :directions, None] * axes[:, :directions]
        rest = (apart.square().sum(1) - found.square().sum(1)).clamp(min=0.0)
        return cls(mean.float(), found.float(), rest.float(), len(values))

    @property
    def variance(self) -> Tensor:
        """(L, D)."""
        return self.directions.square().sum(1) + self.rest

    def moved(self, scale: Tensor, shift: Tensor) -> Gaussian:
        """Of the same inputs times `scale` plus `shift`, both (L, D)."""
        return replace(
            self,
            mean=self.mean * scale + shift,
            directions=self.directions * scale[:, None],
            rest=self.rest * scale.square(),
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, L, D), blocks independent of each other."""
        blocks, kept, width = self.directions.shape
        along = torch.randn(count, blocks, kept, generator=generator)
        beside = torch.randn(count, blocks, width, generator=generator)
        drawn = torch.einsum("nlr,lrd->nld", along, self.directions.float())
        return self.mean + drawn + beside * self.rest.float().sqrt()


@dataclass(frozen=True)
class Remembered:
    """What routers read of a domain, by the standardisation of the mixture that learnt it.

    Attributes:
        bona_fide, spoof: of each class; None of one that is missing.
        centre, spread: (L, D) mean and deviation that its routers standardise their inputs by.
    """

    bona_fide: Gaussian | None
    spoof: Gaussian | None
    centre: Tensor
    spread: Tensor

    @property
    def classes(self) -> list[Gaussian]:
        """Every class that there is, bona fide speech first."""
        return [each for each in (self.bona_fide, self.spoof) if each is not None]

    def read_by(self, centre: Tensor, spread: Tensor) -> Remembered:
        """The same as routers read it that standardise by these (L, D)."""
        move = (self.spread / spread, (self.centre - centre) / spread)
        bona_fide, spoof = (
            None if each is None else each.moved(*move) for each in (self.bona_fide, self.spoof)
        )
        return Remembered(bona_fide, spoof, centre, spread)


def rehearse(remembered: Sequence[Gaussian], most: int, seed: int) -> Tensor | None:
    """(M, L, D) draws, the same number of each, M at most `most` but at least one of each; None of none."""
    if not remembered:
        return None
    generator = torch.Generator().manual_seed(seed)
    count = max(1, most // len(remembered))
    return torch.cat([each.draw(count, generator) for each in remembered])
