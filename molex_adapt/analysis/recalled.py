"""Shares of the experts without recordings: what routers read of a domain, drawn again, beside exemplars of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.observe import held
from molex_adapt.analysis.shares import shares
from molex_adapt.analysis.tally import Tally
from molex_adapt.base import frame_mask, send
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.detector import Detector
from molex_adapt.features import Features
from molex_adapt.mixture import Routing
from molex_adapt.rehearsal import Gaussian, Remembered
from molex_adapt.reports import Analysis

DRAWS = 64
"""Of each class of a domain."""
_SAME = 0.02
"""Distance of two copies of one recording at most, as a share of their norm."""


@torch.no_grad()
def analyse_recalled(
    detector: Detector, features: Features, remembered: Mapping[str, Remembered], seed: int = 0
) -> Analysis:
    """The shares on prefix features, and on draws of domains of which nothing but routing statistics is kept.

    Blocks are drawn independently of each other, each by the inputs that it had when the domain was learnt.

    Args:
        detector: with experts.
        features: as they are; may be empty. What several domains keep of one recording counts once.
        remembered: by domain.
        seed: decides the draws.
    """
    drawn = [(name, each) for domain, item in remembered.items() for name, each in _classes(domain, item)]
    features = features.pick(_once(features))
    corpus = _corpus(features, [name for name, _ in drawn])
    mixture, device = detector.mixture, detector.device
    tally = Tally.empty(len(corpus.rows), len(mixture.routers), len(mixture.names), device)
    rows = torch.from_numpy(corpus.row_of)
    for portion in held(detector, features):
        mixture.hidden_states(portion.features, portion.frames)
        mask = frame_mask(portion.frames, portion.features)
        tally.add(mixture.routings, mask, send(rows[portion.at], device))
    generator = torch.Generator().manual_seed(seed)
    at = len(features)
    for _, gaussian in drawn:
        routings = _routings(detector, gaussian, generator)
        mask = torch.ones(DRAWS, 1, dtype=torch.bool, device=device)
        tally.add(routings, mask, send(rows[at : at + DRAWS], device))
        at += DRAWS
    found = shares(tally, corpus, mixture.names)
    draws = {name: DRAWS * count for name, count in Counter(name for name, _ in drawn).items()}
    heard = {name: count - draws.get(name, 0) for name, count in found.utterances.items()}
    return replace(found, utterances=heard, drawn=draws)


def _once(features: Features) -> list[int]:
    """Indices of all recordings, each once: domains keep the same bona fide speech.

    Such copies differ by what other batches and half precision make of them; two takes of a source differ by far more.
    """
    found: dict[tuple[str, str | None, int], list[int]] = {}
    for at, clip in enumerate(features.clips):
        alike = found.setdefault((features.sources[at], features.attacks[at], len(clip)), [])
        if not any(_is_same(clip, features.clips[other]) for other in alike):
            alike.append(at)
    return sorted(at for kept in found.values() for at in kept)


def _is_same(clip: Tensor, other: Tensor) -> bool:
    return bool((clip.float() - other.float()).norm() <= _SAME * clip.float().norm())


def _classes(domain: str, remembered: Remembered) -> list[tuple[str, Gaussian]]:
    """By the name of their row, what a domain is remembered by, in the base's own units."""
    zero, one = torch.zeros_like(remembered.centre), torch.ones_like(remembered.spread)
    plain = remembered.read_by(zero, one)
    both = ((BONA_FIDE, plain.bona_fide), (domain, plain.spoof))
    return [(name, each) for name, each in both if each is not None]


def _routings(detector: Detector, gaussian: Gaussian, generator: torch.Generator) -> list[Routing]:
    """Decisions of every block on draws, which are utterances of one frame."""
    drawn = send(gaussian.draw(DRAWS, generator), detector.device)
    mask = torch.ones(DRAWS, 1, dtype=torch.bool, device=detector.device)
    return [router(drawn[:, block, None], mask) for block, router in enumerate(detector.mixture.routers)]


def _corpus(features: Features, drawn: list[str]) -> Corpus:
    known = Corpus.of_features(features)
    names = [name for name in drawn for _ in range(DRAWS)]
    keys = [f"draw {number}" for number in range(len(names))]
    return Corpus(
        (*known.attacks, *names),
        (*known.conditions, *[""] * len(names)),
        np.concatenate([known.bona_fide, np.array([name == BONA_FIDE for name in names], dtype=bool)]),
        (*known.sources, *keys),
        (*known.keys, *keys),
    )
