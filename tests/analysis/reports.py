"""Analyses of any size, concluded from a pass that was never made: many experts, attacks and blocks."""

from __future__ import annotations

import numpy as np
import torch

from molex_adapt.analysis import Corpus, Observed, Tally, conclude, shares
from molex_adapt.reports import Analysis


def pretended(
    experts: int, attacks: int, blocks: int = 2, each: int = 12
) -> tuple[Observed, Corpus, list[str]]:
    """Attack number n is caught by expert number n, the last one by nobody; the null control is bona fide speech."""
    rng = np.random.default_rng(0)
    own = [f"attack_{at:02}" for at in range(attacks)]
    names = [name for name in (*own, "null", "bonafide") for _ in range(each)]
    kinds = np.repeat(np.arange(attacks + 2), each)
    real, count = kinds == attacks + 1, len(names)
    conditions = tuple("opus" if at % 2 else "none" for at in range(count))
    sources = tuple(f"s{at % each}" for at in range(count))
    keys = tuple(map(str, range(count)))
    corpus = Corpus(tuple(names), conditions, real, sources, keys)
    logits = rng.normal(size=(count, blocks, experts))
    spoof = kinds < attacks
    logits[np.flatnonzero(spoof), :, kinds[spoof] % experts] += 4
    gates = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    missed = kinds == attacks - 1
    scores = rng.normal(size=count) + 4.0 * (~spoof | missed)
    rise = np.zeros((count, experts))
    rise[np.flatnonzero(spoof), kinds[spoof] % experts] = 3.0
    without = (
        scores[:, None, None] + rise[:, :, None] * [1.0, 0.8] + 0.01 * rng.normal(size=(count, experts, 2))
    )
    told = 0.5 * rng.normal(size=count) - spoof
    tally = Tally.empty(len(corpus.rows), blocks, experts)
    rows, values = torch.from_numpy(corpus.row_of), (torch.from_numpy(gates) * 2.0**32).long()
    for part in (tally.gates, tally.before, tally.chosen, tally.first):
        part.index_add_(0, rows, values)
    tally.counts.index_add_(0, rows, torch.ones(count, dtype=torch.int64))
    everyone, spectrum = np.arange(count), rng.normal(size=(count, 3)).astype(np.float32)
    bare = scores + 3.0 * spoof
    observed = Observed(
        tally,
        real | True,
        scores,
        bare,
        told,
        everyone,
        gates,
        gates,
        spectrum,
        everyone,
        without,
        tuple(f"{name}/{name}" for name in own),
        -4.0 * (kinds[:, None] == np.arange(attacks)) + rng.normal(size=(count, attacks)),
        scores[:, None] + 2.0 * (kinds[:, None] == np.arange(attacks)),
    )
    return observed, corpus, [f"expert_{at:02}" for at in range(experts)]


def analysed(experts: int, attacks: int, blocks: int = 2, each: int = 12, tested: bool = True) -> Analysis:
    """The analysis of such a pass; its shares alone unless it is `tested`."""
    observed, corpus, names = pretended(experts, attacks, blocks, each)
    return conclude(observed, corpus, names) if tested else shares(observed.tally, corpus, names)
