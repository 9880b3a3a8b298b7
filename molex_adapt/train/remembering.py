"""Old domains without their recordings: what routers read of them, kept when they are learnt and drawn again later.

Shapes: M draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molex_adapt.conventions import Seconds
from molex_adapt.detector import Detector
from molex_adapt.errors import ExpertError
from molex_adapt.features import Features, OnlineFeatures
from molex_adapt.rehearsal import Gaussian, Remembered, rehearse
from molex_adapt.train.exemplars import in_memory
from molex_adapt.train.old import OldDomain
from molex_adapt.train.reads import reads_of

HEARD = 128
"""Utterances of a class that a Gaussian is fitted to, at most: evenly spaced ones of the training split."""
DRAWS = 2048
"""Draws of all old domains together, at most."""


@torch.no_grad()
def remember(detector: Detector, train: Features | OnlineFeatures, seconds: Seconds) -> Remembered:
    """What the routers read of a domain's training recordings: so many seconds of each."""
    found: list[Gaussian | None] = []
    for bona_fide in (True, False):
        rows = (train.bona_fide == bona_fide).nonzero()[:, 0].tolist()
        rows = rows[:: -(-len(rows) // HEARD)] if rows else []
        # One utterance has no covariance.
        kept = in_memory(train, rows, seconds) if len(rows) > 1 else None
        found.append(None if kept is None else Gaussian.fit(reads_of(detector, kept)))
    return Remembered(found[0], found[1], *standardisation(detector))


def rehearsed(detector: Detector, old: Mapping[str, OldDomain], seed: int) -> Tensor | None:
    """(M, L, D) draws of what routers read of old domains, standardised; None where nothing is kept of any.

    They lie on the detector's device.

    Raises:
        ExpertError: an expert's are of another base.
    """
    require_fit(detector, old)
    here = standardisation(detector)
    kept = [
        each for item in old.values() if item.remembered for each in item.remembered.read_by(*here).classes
    ]
    drawn = rehearse(kept, DRAWS, seed)
    return None if drawn is None else drawn.to(detector.device)


def require_fit(detector: Detector, old: Mapping[str, OldDomain]) -> None:
    """Refuse routing statistics of another base, as `rehearsed` does."""
    here = standardisation(detector)[0].shape
    for domain, item in old.items():
        if item.remembered is not None and item.remembered.centre.shape != here:
            raise ExpertError(
                f"the routing statistics of {domain} are of {tuple(item.remembered.centre.shape)} blocks and channels, "
                f"and the routers here read {tuple(here)}. Restore the expert's folder from a copy."
            )


def standardisation(detector: Detector) -> tuple[Tensor, Tensor]:
    """(L, D) mean and deviation by which routers standardise what they read, on the CPU."""
    routers = detector.mixture.routers
    return torch.stack([r.centre.cpu() for r in routers]), torch.stack([r.spread.cpu() for r in routers])
