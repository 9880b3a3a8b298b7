"""Whether the attack can be read from the routing alone: a linear probe against its permutation null.

Shapes: N recordings, V entries of a profile, A attacks, R shuffles.

Source: ridge regression on class indicators; the permutation test is that of Ojala and Garriga 2010, with labels that
are exchanged within a source, or whole among sources that have one kind of speech only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from molex_adapt.findings import Probe

Integers: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]

_FOLDS, _SHUFFLES, _RIDGE = 5, 199, 1e-2
_MOST = 1500
"""Recordings that the probe learns from; its cost grows with their cube."""
_ALIKE = 1e-6
"""Gates that differ by less are equal: those of withdrawn experts are not quite 0."""
_FEWEST = 5
"""Sources, below which nothing is probed."""


def probe(
    gates: NDArray[np.float32], names: Sequence[str], sources: Sequence[str], *, seed: int = 0
) -> Probe | None:
    """Predict the kind of speech of (N, L, E) gates, by cross-validation over sources.

    Args:
        gates: before top-k, of N recordings.
        names: N kinds of speech, at least two different ones.
        sources: N source recordings; none is learnt from and predicted at once.
        seed: of the shuffles.

    Returns:
        None where there are fewer than two kinds, or five sources, and where all are routed alike.
    """
    if not gates.size or np.ptp(gates, axis=0).max() <= _ALIKE:
        return None
    rng = np.random.default_rng(seed)
    at = np.sort(rng.permutation(len(names))[:_MOST])
    kinds, label = np.unique(np.array(names, dtype=object)[at].astype(str), return_inverse=True)
    unit = np.unique(np.array(sources, dtype=object)[at].astype(str), return_inverse=True)[1]
    if len(kinds) < 2 or int(unit.max(initial=-1)) + 1 < _FEWEST:
        return None
    fold = rng.permutation(int(unit.max()) + 1)[unit] % _FOLDS
    predict = _cross_predictor(gates[at].reshape(len(at), -1).astype(float), fold)
    true = _accuracy(predict, label, len(kinds))
    shuffled = _shuffled(label, unit, rng)
    chance = np.array([_accuracy(predict, labels, len(kinds)).mean() for labels in shuffled])
    accuracy = float(true.mean())
    return Probe(
        accuracy,
        float(chance.mean()),
        float(np.percentile(chance, 95)),
        float((1 + np.count_nonzero(chance >= accuracy)) / (1 + len(chance))),
        dict(zip(kinds.tolist(), true.tolist(), strict=True)),
        len(at),
    )


def _cross_predictor(rows: Floats, fold: Integers) -> Floats:
    """(N, N) that turns indicators of the true kind into predictions from the other folds; it knows no labels."""
    # Roots of shares: differences between rare experts then count as much as between frequent ones.
    rows = np.sqrt(np.clip(rows, 0, None))
    rows = rows - rows.mean(0)
    kernel = rows @ rows.T
    kernel /= max(float(np.trace(kernel)) / len(kernel), 1e-12)
    found = np.zeros_like(kernel)
    for number in range(_FOLDS):
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        if len(held) and len(rest):
            inner = kernel[np.ix_(rest, rest)] + _RIDGE * np.eye(len(rest))
            found[np.ix_(held, rest)] = np.linalg.solve(inner, kernel[np.ix_(rest, held)]).T
    return found


def _accuracy(predict: Floats, label: Integers, kinds: int) -> Floats:
    """(A,) share of each kind that is predicted rightly."""
    indicators = np.eye(kinds)[label]
    # Rarer kinds weigh more, or a probe would predict the frequent ones only.
    indicators = indicators / indicators.sum(0) - 1 / len(label)
    guess = (predict @ indicators).argmax(1)
    hits = np.bincount(label[guess == label], minlength=kinds)
    found: Floats = hits / np.bincount(label, minlength=kinds)
    return found


def _shuffled(label: Integers, unit: Integers, rng: np.random.Generator) -> list[Integers]:
    """R times the labels, shuffled within sources, and among sources of one kind."""
    order = np.argsort(unit, kind="stable")
    ends = np.flatnonzero(np.diff(unit[order], append=-1)) + 1
    members = np.split(order, ends[:-1])
    mixed = [own for own in members if len(set(label[own].tolist())) > 1]
    alone = [own for own in members if len(set(label[own].tolist())) == 1]
    found = []
    for _ in range(_SHUFFLES):
        labels = label.copy()
        for own in mixed:
            labels[own] = rng.permutation(label[own])
        dealt = rng.permutation([int(label[own[0]]) for own in alone]) if alone else ()
        for own, value in zip(alone, dealt, strict=True):
            labels[own] = value
        found.append(labels)
    return found
