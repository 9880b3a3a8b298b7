"""From scores to the figures that are kept of a run; what follows from these alone the report derives.

T steps. All rates are fractions, but those of the resamples, which are hundredths of a per cent.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sequence.domains import Domains, Measured
from benchmarks.sequence.run import CellScores
from benchmarks.sequence.settings import TIES, Settings
from molex_adapt.metrics import (
    act_dcf,
    eer,
    eer_interval,
    error_rates,
    min_dcf,
    resampled_eers,
    threshold_for_new_voices,
)

Scores = NDArray[np.floating[Any]]
Classes = tuple[Scores, Scores]


def figures_of(run: CellScores, domains: Domains, settings: Settings) -> dict[str, Any]:
    """Everything that is kept of one run, as JSON values; `right_after` is NaN where nothing was measured.

    `resampled` holds the final mean EER of every resample of the test's sources: the same resamples for all runs.
    """
    test, names = domains.test, settings.attacks
    final = {name: classes_of(run.test[-1], test, name) for name in names}
    rates = {name: _eer(run.test[-1], test, name) for name in names}
    worst = max(names, key=rates.__getitem__)
    sources = {name: test.sources(name) for name in names}
    sets = [(*final[name], sources[name]) for name in names]
    drawn = dict(zip(names, resampled_eers(sets, bootstrap=settings.resamples, ties=TIES), strict=True))
    kinds = {"test": settings.test, "all": names}
    return {
        "data": domains.digest,
        "order": run.order,
        "final": rates,
        "right_after": {name: _eer(run.test[step], test, name) for step, name in enumerate(run.order)},
        "min_dcf": {kind: _mean(min_dcf(*final[name]) for name in own) for kind, own in kinds.items()},
        "act_dcf": {kind: _mean(act_dcf(*final[name]) for name in own) for kind, own in kinds.items()},
        "worst": {"attack": worst, "ci": list(eer_interval(*final[worst], groups=sources[worst], ties=TIES))},
        "resampled": {
            kind: np.rint(1e4 * np.mean([drawn[name] for name in own], axis=0)).astype(int).tolist()
            for kind, own in kinds.items()
        },
        "threshold": _thresholds(run, domains, settings),
        "cost": _cost(run),
        **({"experts": run.experts} if run.experts else {}),
    }


def averaged(alone: CellScores) -> CellScores:
    """One detector a domain, their scores averaged: derived from the detectors trained alone."""
    count = np.arange(1, len(alone.order) + 1)[:, None]
    test, development = (
        (np.cumsum(scores.astype(np.float64), axis=0) / count).astype(np.float32)
        for scores in (alone.test, alone.development)
    )
    return CellScores(alone.order, test, development, alone.steps)


def classes_of(scores: Scores, measured: Measured, name: str) -> Classes:
    """Scores of a domain's bona fide and of its forged recordings."""
    rows = measured.sets[name]
    real = measured.bona_fide[rows]
    return scores[rows][real], scores[rows][~real]


def _thresholds(run: CellScores, domains: Domains, settings: Settings) -> dict[str, dict[str, float]]:
    """After the first step and after the last: bona fide refused, and forgeries accepted of what was learnt so far."""
    found: dict[str, dict[str, float]] = {}
    everyone = np.arange(len(domains.development.paths))
    for title, step, learnt in (("first", 0, run.order[:1]), ("last", -1, run.order)):
        own = domains.development.sets[learnt[0]] if title == "first" else everyone
        scores = run.development[step]
        if not np.isfinite(scores[own]).all():
            continue
        voices = [domains.development.voices[at] for at in own]
        threshold = threshold_for_new_voices(scores[own], voices, settings.refused)
        errors = {
            name: error_rates(*classes_of(run.test[step], domains.test, name), threshold) for name in learnt
        }
        found[title] = {
            "refused": errors[learnt[0]][0],
            "accepted": _mean(accepted for _, accepted in errors.values()),
        }
        if title == "last":
            found[title]["accepted_test"] = _mean(errors[name][1] for name in settings.test)
    return found


def _cost(run: CellScores) -> dict[str, float]:
    """Of all steps: bytes stored, of it recordings, seconds; the weights of a later step that moved."""
    return {
        "seconds": sum(step["seconds"] for step in run.steps),
        "stored": sum(step["stored"] for step in run.steps),
        "kept": sum(step["kept"] for step in run.steps),
        "trainable": float(median(step["trainable"] for step in run.steps[1:])),
    }


def _eer(scores: Scores, measured: Measured, name: str) -> float:
    if not np.isfinite(scores[measured.sets[name]]).all():
        return float("nan")
    return float(eer(*classes_of(scores, measured, name), ties=TIES))


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
