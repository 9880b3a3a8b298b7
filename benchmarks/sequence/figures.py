"""From scores to figures: the matrix of EERs, forgetting, transfer, and what a deployed system feels.

T steps, D domains. `matrix[t][d]` is the EER of domain d after step t, at one polarity. All rates are fractions;
changes are later minus earlier, so that a positive one is worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sequence.domains import Domains, Measured
from benchmarks.sequence.run import Run
from molex_adapt.conventions import NULL_DOMAIN
from molex_adapt.metrics import eer, error_rates, mean_eer_interval, measure

Scores = NDArray[np.floating[Any]]


def figures_of(run: Run, domains: Domains) -> dict[str, Any]:
    """Everything that is said about one run, as JSON values."""
    order, known = run.order, domains.known
    matrix = {name: [_eer(row, known, name) for row in run.scores] for name in known.sets}
    after_own = {name: matrix[name][number] for number, name in enumerate(order)}
    final = {name: matrix[name][-1] for name in order}
    mean, interval = mean_eer_interval([_classes(run.scores[-1], known, name) for name in order])
    found: dict[str, Any] = {
        **run.cell.model_dump(),
        "overrides": run.overrides,
        "order_of_domains": order,
        "matrix": matrix,
        "final": {name: _rates(run.scores[-1], known, name) for name in known.sets},
        "final_mean": {"eer": mean, "eer_ci": list(interval)},
        "mean_by_step": [_mean([matrix[name][step] for name in order]) for step in range(len(order))],
        "right_after": {"mean": _mean(list(after_own.values())), "by_domain": after_own},
        "forward": _forward(matrix, order),
        "steps": run.steps,
        "held_out_voice": {},
    }
    if domains.held_out is not None and len(run.held_out):
        found["held_out_voice"] = {
            name: _rates(run.held_out, domains.held_out, name) for name in domains.held_out.sets
        }
    if np.isfinite(run.scores).all():
        found["forgetting"] = _forgetting(matrix, order)
        found["backward"] = _mean([final[name] - after_own[name] for name in order[:-1]])
        found["frozen_threshold"] = _frozen(run, known)
    return found


def averaged(alone: Run) -> Run:
    """One detector a domain, their scores averaged: derived from the detectors trained alone."""
    count = np.arange(1, len(alone.order) + 1)[:, None]
    scores = (np.cumsum(alone.scores.astype(np.float64), axis=0) / count).astype(np.float32)
    cell = alone.cell.model_copy(update={"method": "averaged"})
    # Of the held-out voice only the last detector's scores are kept.
    return Run(cell, alone.order, scores, np.zeros(0, np.float32), alone.threshold, alone.steps)


def _forgetting(matrix: Mapping[str, list[float]], order: list[str]) -> dict[str, Any]:
    """Final EER minus the best since the domain was learnt; the last domain has had no time to be forgotten."""
    by_domain = {
        name: matrix[name][-1] - min(matrix[name][number:-1]) for number, name in enumerate(order[:-1])
    }
    return {"mean": _mean(list(by_domain.values())), "worst": max(by_domain.values()), "by_domain": by_domain}


def _forward(matrix: Mapping[str, list[float]], order: list[str]) -> float:
    """How much of a domain is known before it is learnt: mean EER of the step before."""
    return _mean([matrix[name][number - 1] for number, name in enumerate(order) if number])


def _frozen(run: Run, known: Measured) -> dict[str, Any]:
    """Error rates and score drift at the threshold frozen after step one, from a domain's own step to the last."""
    miss, alarm, drift_real, drift_fake = [], [], [], []
    rates = {}
    for number, name in enumerate(run.order[:-1]):
        before, after = (_split(run.scores[step], known, name) for step in (number, -1))
        (miss_before, alarm_before), (miss_after, alarm_after) = (
            error_rates(*classes, run.threshold) for classes in (before, after)
        )
        rates[name] = {"miss": [miss_before, miss_after], "false_alarm": [alarm_before, alarm_after]}
        miss.append(miss_after - miss_before)
        alarm.append(alarm_after - alarm_before)
        drift_real.append(float(np.mean(after[0]) - np.mean(before[0])))
        drift_fake.append(float(np.mean(after[1]) - np.mean(before[1])))
    return {
        "threshold": run.threshold,
        "miss_change": _mean(miss),
        "false_alarm_change": _mean(alarm),
        "error_change": _mean([(a + b) / 2 for a, b in zip(miss, alarm, strict=True)]),
        "bona_fide_drift": _mean(drift_real),
        "spoof_drift": _mean(drift_fake),
        "by_domain": rates,
    }


def is_control(name: str) -> bool:
    """Whether a set is a control: processing without an attack."""
    return name.startswith(NULL_DOMAIN)


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


def _eer(scores: Scores, measured: Measured, name: str) -> float:
    if not np.isfinite(scores).all():
        return float("nan")
    return float(eer(*_split(scores, measured, name)))


def _rates(scores: Scores, measured: Measured, name: str) -> dict[str, Any]:
    real, fake, groups = _classes(scores, measured, name)
    return measure(real, fake, groups=groups).as_dict()


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
