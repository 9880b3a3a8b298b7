"""All figures of a countermeasure beside speaker verification, with intervals.

Shapes: T target trials, O nontarget trials, S spoof trials; N bona fide, M spoofed utterances.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.resampling import Groups, Interval
from molex_adapt.metrics.tandem import (
    AsvRates,
    a_dcf,
    asv_rates,
    min_t_dcf,
    t_eer,
)
from molex_adapt.metrics.tandem_intervals import (
    TrialGroups,
    a_dcf_interval,
    t_dcf_intervals,
    t_eer_interval,
)
from molex_adapt.metrics.tandem_parts import (
    Kinds,
    TandemFigures,
    TandemParts,
    t_dcf_weights,
    trial_counts,
)


@dataclass(frozen=True, slots=True)
class Bounded:
    """A figure and its bootstrap interval."""

    value: float
    ci: Interval

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"value": self.value, "ci": list(self.ci)}


@dataclass(frozen=True, slots=True)
class TandemRates:
    """Figures of one countermeasure and one ASV system; None where their scores are not given."""

    target: int
    nontarget: int
    spoof: int
    """Counts of trials."""
    a_dcf: Bounded | None = None
    """Of the scores of the system that does both."""
    asv: AsvRates | None = None
    t_dcf_2019: Bounded | None = None
    t_dcf_2021: Bounded | None = None
    """Minima over the countermeasure's thresholds, the ASV system held fixed; None also where it does not exist."""
    t_eer: float | None = None
    """A fraction."""
    t_eer_ci: Interval | None = None
    parts: TandemParts = field(default_factory=TandemParts)
    """The same by attack, by condition, and by both."""

    @property
    def figures(self) -> TandemFigures:
        """The same without intervals."""
        a_dcf, *t_dcf = (
            None if item is None else item.value for item in (self.a_dcf, self.t_dcf_2019, self.t_dcf_2021)
        )
        return TandemFigures(self.target, self.nontarget, self.spoof, a_dcf, t_dcf[0], t_dcf[1], self.t_eer)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        bounded = {"a_dcf": self.a_dcf, "t_dcf_2019": self.t_dcf_2019, "t_dcf_2021": self.t_dcf_2021}
        return {
            "trials": self.figures.counts(),
            **{name: None if item is None else item.as_dict() for name, item in bounded.items()},
            "t_eer": self.t_eer,
            "t_eer_ci": None if self.t_eer_ci is None else list(self.t_eer_ci),
            "asv": None if self.asv is None else asdict(self.asv),
            **self.parts.as_dict(),
        }

    def cell(self, attack: str | None, condition: str | None) -> TandemFigures | None:
        """Figures of an attack in a condition; None for either takes all of them. None: not measured, or not there."""
        if attack is None:
            return self.figures if condition is None else self.parts.by_condition.get(condition)
        if condition is None:
            return self.parts.by_attack.get(attack)
        return self.parts.by_attack_and_condition.get(attack, {}).get(condition)


def measure_tandem(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    asv: Kinds | None,
    sasv: Kinds | None,
    bootstrap: int = 1000,
    seed: int = 0,
    groups: Groups | None = None,
    trial_groups: TrialGroups | None = None,
) -> TandemRates:
    """Measure a countermeasure beside ASV, and the system of both.

    Args:
        bona_fide, spoof: (N,) and (M,) scores of the countermeasure.
        asv: (T,), (O,) and (S,) scores of ASV alone, for t-DCF and t-EER.
        sasv: of the system that is to reject nontargets and spoofs, for the a-DCF.
        bootstrap, seed, groups: see `eer_interval`; `groups` of the countermeasure's utterances.
        trial_groups: source ids of the trials of ASV, for the interval of the t-EER.

    Raises:
        DataError: neither is given, a class or a kind of trial is missing, or a score is not finite.

    Source: own.
    """
    trials = sasv if asv is None else asv
    if trials is None:
        raise DataError(
            "There are no trials of speaker verification. Give scores of ASV, of SASV, or of both."
        )
    both = None
    if sasv is not None:
        both = Bounded(a_dcf(*sasv), a_dcf_interval(*sasv, bootstrap=bootstrap, seed=seed))
    if asv is None:
        return TandemRates(*trial_counts(trials), both)
    rates = asv_rates(*asv)
    weights = t_dcf_weights(rates)
    intervals = t_dcf_intervals(
        bona_fide, spoof, list(weights.values()), bootstrap=bootstrap, seed=seed, groups=groups
    )
    costs = {
        formula: Bounded(min_t_dcf(bona_fide, spoof, own), interval)
        for (formula, own), interval in zip(weights.items(), intervals, strict=True)
    }
    interval = t_eer_interval(
        bona_fide, spoof, *asv, bootstrap=bootstrap, seed=seed, groups=groups, trial_groups=trial_groups
    )
    return TandemRates(
        *trial_counts(trials),
        both,
        rates,
        costs.get("2019"),
        costs.get("2021"),
        t_eer(bona_fide, spoof, *asv),
        interval,
    )
