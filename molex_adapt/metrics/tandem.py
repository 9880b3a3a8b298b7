"""Metrics of spoofing countermeasures beside speaker verification (ASV): a-DCF, t-DCF, t-EER.

Trials of ASV are of three kinds: the target speaker, another speaker (nontarget), a spoof. Higher scores accept.

Shapes: T target trials, O nontarget trials, S spoof trials; N bona fide, M spoofed utterances;
V points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molex_adapt.errors import DataError
from molex_adapt.metrics.curve import Floats, checked_scores, det_curve
from molex_adapt.metrics.resampling import Integers

Formula: TypeAlias = Literal["2019", "2021"]
"""Of the t-DCF. `2019`: of the ASVspoof 2019 challenge, without the cost of ASV's own errors. `2021`: of ASVspoof 2021,
as revised by Kinnunen et al. 2020, with it. The ASVspoof 5 package holds both."""


@dataclass(frozen=True, slots=True)
class TrialCosts:
    """How often each kind of trial is expected, and what each error costs; probabilities sum to 1."""

    p_target: float
    p_nontarget: float
    p_spoof: float
    c_miss: float
    c_fa_nontarget: float
    c_fa_spoof: float

    def __post_init__(self) -> None:
        priors = (self.p_target, self.p_nontarget, self.p_spoof)
        costs = (self.c_miss, self.c_fa_nontarget, self.c_fa_spoof)
        if not (min(priors) > 0 and math.isclose(sum(priors), 1, abs_tol=1e-9)) or not (
            min(costs) > 0 and math.isfinite(sum(costs))
        ):
            raise DataError(
                f"Trial probabilities {priors} and costs {costs} are unusable: probabilities must be positive and sum "
                "to 1, costs positive and finite. ASVspoof 5 has 0.9, 0.05, 0.05 and 1, 10, 20 for the a-DCF."
            )

    @property
    def miss_weight(self) -> float:
        """Expected cost of rejecting every target."""
        return self.p_target * self.c_miss

    @property
    def nontarget_weight(self) -> float:
        """Expected cost of accepting every nontarget."""
        return self.p_nontarget * self.c_fa_nontarget

    @property
    def spoof_weight(self) -> float:
        """Expected cost of accepting every spoof."""
        return self.p_spoof * self.c_fa_spoof


A_DCF = TrialCosts(0.9, 0.05, 0.05, 1.0, 10.0, 20.0)
"""Of the a-DCF in the ASVspoof 5 package, which are the defaults of Shim et al. 2024 ("a-DCF 1")."""
T_DCF = TrialCosts(0.95 * 0.99, 0.95 * 0.01, 0.05, 1.0, 10.0, 10.0)
"""Of the t-DCF in ASVspoof 2019, 2021 and 5."""


@dataclass(frozen=True, slots=True)
class AsvRates:
    """Errors of ASV at one threshold, as fractions."""

    miss: float
    """Targets rejected."""
    false_alarm: float
    """Nontargets accepted."""
    spoof_false_alarm: float
    """Spoofs accepted."""
    threshold: float


@dataclass(frozen=True, slots=True)
class TandemWeights:
    """The t-DCF as a line: `constant + miss * (miss rate) + false_alarm * (false-alarm rate)`, already normalised."""

    constant: float
    miss: float
    false_alarm: float


def a_dcf(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, *, costs: TrialCosts = A_DCF) -> float:
    """Lowest normalised architecture-agnostic detection cost over all thresholds of one system's scores.

    Args:
        target, nontarget, spoof: (T,), (O,) and (S,) scores of a spoofing-robust verification system.
        costs: those of the ASVspoof 5 package by default.

    Raises:
        DataError: a kind of trial is missing, or a score is not finite.

    Source: own; Shim et al. 2024, arXiv 2403.01355, as in the ASVspoof 5 package.
    """
    kinds = checked_trials(target, nontarget, spoof)
    # Points between equal scores, which the package visits too, cost at least as much as their neighbours.
    values = np.unique(np.concatenate(kinds))
    miss, *accepted = (np.append(_below(scores, values), 1.0) for scores in kinds)
    cost = a_dcf_cost(miss, 1 - accepted[0], 1 - accepted[1], costs)
    return float(cost.min())


def a_dcf_cost(miss: Floats, nontarget: Floats, spoof: Floats, costs: TrialCosts) -> Floats:
    """Normalised cost of a miss rate and two false-alarm rates, of any one shape."""
    default = min(costs.miss_weight, costs.nontarget_weight + costs.spoof_weight)
    cost = costs.miss_weight * miss + costs.nontarget_weight * nontarget + costs.spoof_weight * spoof
    return cost / default


def asv_rates(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> AsvRates:
    """Errors of an ASV system at the threshold of its own equal error rate, of targets against nontargets.

    The threshold is the package's: the highest rejected score, which the rates then accept.

    Arguments, errors: see `a_dcf`, with scores of ASV. Source: own; definition of the ASVspoof packages.
    """
    own, other, fake = checked_trials(target, nontarget, spoof)
    at = det_curve(own, other).equal_error_index()
    ascending = np.sort(np.concatenate((own, other)))
    threshold = float(ascending[at - 1]) if at else float(ascending[0]) - 0.001
    return AsvRates(
        miss=float(np.mean(own < threshold)),
        false_alarm=float(np.mean(other >= threshold)),
        spoof_false_alarm=float(np.mean(fake >= threshold)),
        threshold=threshold,
    )


def tandem_weights(asv: AsvRates, formula: Formula = "2021", *, costs: TrialCosts = T_DCF) -> TandemWeights:
    """The t-DCF that a fixed ASV system leaves to a countermeasure.

    Raises:
        DataError: ASV accepts no spoof or errs more than it helps, so that there is nothing to normalise by; or there
            is no such formula.

    Source: own; `2019` Kinnunen et al. 2018, `2021` Kinnunen et al. 2020, arXiv 2007.05979.
    """
    if formula not in get_args(Formula):
        raise DataError(f"There is no t-DCF {formula!r}. Expected one of {', '.join(get_args(Formula))}.")
    alone = costs.miss_weight * asv.miss + costs.nontarget_weight * asv.false_alarm
    miss, false_alarm = costs.miss_weight - alone, costs.spoof_weight * asv.spoof_false_alarm
    constant = alone if formula == "2021" else 0.0
    default = constant + min(miss, false_alarm)
    if miss < 0 or default <= 0:
        raise DataError(
            f"The t-DCF does not exist for an ASV system that misses {100 * asv.miss:.1f} % of targets and accepts "
            f"{100 * asv.false_alarm:.1f} % of nontargets and {100 * asv.spoof_false_alarm:.1f} % of spoofs. Expected "
            "one that verifies speakers and that spoofs can deceive. Check the ASV scores and their labels."
        )
    return TandemWeights(constant / default, miss / default, false_alarm / default)


def min_t_dcf(bona_fide: ArrayLike, spoof: ArrayLike, weights: TandemWeights) -> float:
    """Lowest normalised tandem detection cost over all thresholds of a countermeasure.

    Args:
        bona_fide, spoof: (N,) and (M,) scores of the countermeasure.
        weights: from `tandem_weights`.

    Raises:
        DataError: a class is empty, or a score is not finite.

    Source: own; definition of the ASVspoof packages.
    """
    curve = det_curve(bona_fide, spoof, ties="step")
    cost = weights.constant + weights.miss * curve.miss + weights.false_alarm * curve.false_alarm
    return float(cost.min())


def t_eer(
    bona_fide: ArrayLike, spoof: ArrayLike, target: ArrayLike, nontarget: ArrayLike, asv_spoof: ArrayLike
) -> float:
    """Concurrent tandem equal error rate, as a fraction: the tandem's error rate whatever share of attacks are spoofs.

    For every threshold of ASV, the countermeasure's is set where misses of the tandem equal its false alarms. Of that
    path the point counts at which nontargets and spoofs are accepted equally often.

    Args:
        bona_fide, spoof: (N,) and (M,) scores of the countermeasure.
        target, nontarget, asv_spoof: (T,), (O,) and (S,) scores of ASV.

    Raises:
        DataError: as `a_dcf`, or a class of the countermeasure's is empty.

    Source: own; Kinnunen et al. 2023, arXiv 2309.12237, as in the ASVspoof 5 package: the crossing on the path of
    nontargets, and ties taken one by one.
    """
    kinds = checked_trials(target, nontarget, asv_spoof)
    return t_eer_in_order(in_order(checked_scores(bona_fide, spoof)), in_order(kinds))


def in_order(sets: Sequence[Floats]) -> NDArray[np.int8]:
    """The set that each score is of, of all scores in ascending order; equal ones in the order of the sets."""
    labels = np.repeat(np.arange(len(sets), dtype=np.int8), [scores.size for scores in sets])
    return labels[np.argsort(np.concatenate(sets), kind="stable")]


def t_eer_in_order(cm: NDArray[np.int8], asv: NDArray[np.int8]) -> float:
    """`t_eer` from the sets of scores alone, as `in_order` gives them.

    Args:
        cm: (N + M,) of the countermeasure: 0 bona fide, 1 spoof.
        asv: (T + O + S,) of ASV: 0 target, 1 nontarget, 2 spoof.
    """
    asv_miss, *rejected = (_rejected(asv, kind) for kind in range(3))
    asv_nontarget, asv_accepted = (1 - rate for rate in rejected)
    cm_miss, caught = (_rejected(cm, kind) for kind in range(2))
    # Only below its own equal error rate can ASV be brought to equal errors by a countermeasure, which adds misses.
    usable = slice(int(np.count_nonzero(asv_miss < asv_nontarget)))
    miss, nontarget_rate, spoof_rate = (rate[usable] for rate in (asv_miss, asv_nontarget, asv_accepted))
    at = _equal_errors(cm_miss, miss, nontarget_rate)
    false_alarm = 1 - caught[at]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(nontarget_rate / spoof_rate - false_alarm / (1 - cm_miss[at]))
    # Where all is accepted the distance is finite, so that there is always a best point.
    best = int(np.argmin(np.where(np.isfinite(distance), distance, np.inf)))
    return float(spoof_rate[best] * false_alarm[best])


def checked_trials(
    target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """The three kinds as (T,), (O,) and (S,) float64.

    Raises:
        DataError: a kind is missing, or a score is not finite.
    """
    found = []
    for name, scores in (("target", target), ("nontarget", nontarget), ("spoof", spoof)):
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            fault = f"of shape {values.shape}, of which {int((~np.isfinite(values)).sum())} are not finite"
            raise DataError(
                f"The {name} trials have scores {fault}. Expected at least one finite score each of target, nontarget "
                "and spoof trials. Check the labels of the trials."
            )
        found.append(values)
    return found[0], found[1], found[2]


def _below(scores: Floats, thresholds: Floats) -> Floats:
    """Share of scores that each threshold rejects."""
    return np.searchsorted(np.sort(scores), thresholds) / scores.size


def _rejected(labels: NDArray[np.int8], kind: int) -> Floats:
    """Share of one kind that is rejected before the first and after each of the scores in order."""
    below = np.concatenate(([0], np.cumsum(labels == kind)))
    return np.asarray(below / below[-1])


def _equal_errors(cm_miss: Floats, asv_miss: Floats, asv_nontarget: Floats) -> Integers:
    """For each point of ASV, the first point of the (V,) countermeasure curve with the most equal tandem errors."""

    def gap(at: Integers) -> Floats:
        passed = 1 - cm_miss[at]
        found: Floats = np.abs(cm_miss[at] + passed * asv_miss - passed * asv_nontarget)
        return found

    # Tandem misses minus false alarms rise with the countermeasure's misses, and are 0 at this miss rate.
    wanted = (asv_nontarget - asv_miss) / (1 - asv_miss + asv_nontarget)
    after = np.searchsorted(cm_miss, wanted).clip(0, cm_miss.size - 1)
    before = np.searchsorted(cm_miss, cm_miss[np.maximum(after - 1, 0)])
    return np.where(gap(before) <= gap(after), before, after)
