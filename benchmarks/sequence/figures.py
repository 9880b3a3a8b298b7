"""From scores to the figures that are kept of a run; what follows from these alone the report derives.

T steps, D domains. All rates are fractions; changes are later minus earlier, so that a positive one is worse.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sequence.domains import Domains, Measured
from benchmarks.sequence.run import CellScores
from molex_adapt.metrics import eer, error_rates, mean_eer_interval

Scores = NDArray[np.floating[Any]]


def figures_of(run: CellScores, domains: Domains) -> dict[str, Any]:
    """Everything that is kept of one run, as JSON values.

    `matrix[d][t]` is the EER of domain d after step t, at one polarity, NaN where the method was not measured;
    `mean_eer_ci` the interval of its mean over the order's domains after the last step.
    """
    known, unheard = domains.known, domains.held_out
    _, interval = mean_eer_interval([_classes(run.scores[-1], known, name) for name in run.order])
    heard_by_none = unheard.sets if unheard is not None and len(run.held_out) else {}
    return {
        "order": run.order,
        "matrix": {name: [_eer(row, known, name) for row in run.scores] for name in known.sets},
        "mean_eer_ci": list(interval),
        "held_out_voice": {name: _eer(run.held_out, unheard, name) for name in heard_by_none},
        "frozen_threshold": _frozen(run, known) if np.isfinite(run.scores).all() else None,
        "cost": _cost(run),
    }


def averaged(alone: CellScores) -> CellScores:
    """One detector a domain, their scores averaged: derived from the detectors trained alone."""
    count = np.arange(1, len(alone.order) + 1)[:, None]
    scores = (np.cumsum(alone.scores.astype(np.float64), axis=0) / count).astype(np.float32)
    # Of the held-out voice only the last detector's scores are kept.
    return CellScores(alone.order, scores, np.zeros(0, np.float32), alone.threshold, alone.steps)


def _frozen(run: CellScores, known: Measured) -> dict[str, float]:
    """What became of old domains at the threshold frozen after step one, from a domain's own step to the last."""
    changes = []
    for number, name in enumerate(run.order[:-1]):
        before, after = (_split(run.scores[step], known, name) for step in (number, -1))
        errors = (np.array(error_rates(*classes, run.threshold)) for classes in (before, after))
        drifts = [np.mean(later) - np.mean(earlier) for earlier, later in zip(before, after, strict=True)]
        changes.append([*np.subtract(*reversed(list(errors))), *drifts])
    names = ("miss", "false_alarm", "bona_fide_drift", "spoof_drift")
    return dict(zip(names, np.mean(changes, axis=0).tolist(), strict=True))


def _cost(run: CellScores) -> dict[str, float]:
    """Seconds of all steps; of a step after the first, medians of what moved and what had to be stored."""
    found = {
        key: float(median(step[key] for step in run.steps[1:])) for key in ("trainable", "stored", "kept")
    }
    seconds = [step["seconds"] for step in run.steps]
    return {"seconds": median(seconds[1:]), "seconds_in_all": sum(seconds), **found}


def _split(scores: Scores, measured: Measured, name: str) -> tuple[Scores, Scores]:
    rows = measured.sets[name]
    real = measured.bona_fide[rows]
    return scores[rows][real], scores[rows][~real]


def _classes(
    scores: Scores, measured: Measured, name: str
) -> tuple[Scores, Scores, tuple[list[str], list[str]]]:
    rows = measured.sets[name]
    sources: tuple[list[str], list[str]] = ([], [])
    for row in rows:
        sources[0 if measured.bona_fide[row] else 1].append(measured.features.sources[row])
    return (*_split(scores, measured, name), sources)


def _eer(scores: Scores, measured: Measured | None, name: str) -> float:
    if measured is None or not np.isfinite(scores).all():
        return float("nan")
    return float(eer(*_split(scores, measured, name)))
