"""All figures of a countermeasure beside speaker verification, with intervals.

Shapes: T target trials, O nontarget trials, S spoof trials; N bona fide, M spoofed utterances.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, get_args

from numpy.typing import ArrayLike

from molex_adapt.errors import DataError
from molex_adapt.metrics.cost_intervals import Interval, a_dcf_interval, t_dcf_interval
from molex_adapt.metrics.resampling import Groups
from molex_adapt.metrics.tandem import AsvRates, Formula, a_dcf, asv_rates, min_t_dcf, t_eer, tandem_weights

Kinds: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Scores of target, nontarget and spoof trials."""


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

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        bounded = {"a_dcf": self.a_dcf, "t_dcf_2019": self.t_dcf_2019, "t_dcf_2021": self.t_dcf_2021}
        return {
            "trials": {"target": self.target, "nontarget": self.nontarget, "spoof": self.spoof},
            **{name: None if item is None else item.as_dict() for name, item in bounded.items()},
            "t_eer": self.t_eer,
            "asv": None if self.asv is None else asdict(self.asv),
        }


def measure_tandem(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    *,
    asv: Kinds | None,
    sasv: Kinds | None,
    bootstrap: int = 1000,
    seed: int = 0,
    groups: Groups | None = None,
) -> TandemRates:
    """Measure a countermeasure beside ASV, and the system of both.

    Args:
        bona_fide, spoof: (N,) and (M,) scores of the countermeasure.
        asv: (T,), (O,) and (S,) scores of ASV alone, for t-DCF and t-EER.
        sasv: of the system that is to reject nontargets and spoofs, for the a-DCF.
        bootstrap, seed, groups: see `eer_interval`; `groups` of the countermeasure's utterances.

    Raises:
        DataError: neither is given, a class or a kind of trial is missing, or a score is not finite.

    Source: own.
    """
    trials = sasv if asv is None else asv
    if trials is None:
        raise DataError(
            "There are no trials of speaker verification. Give scores of ASV, of SASV, or of both."
        )
    target, nontarget, spoofed = (len(scores) for scores in trials)  # type: ignore[arg-type]
    both = None
    if sasv is not None:
        both = Bounded(a_dcf(*sasv), a_dcf_interval(*sasv, bootstrap=bootstrap, seed=seed))
    if asv is None:
        return TandemRates(target, nontarget, spoofed, both)
    rates = asv_rates(*asv)
    found: dict[Formula, Bounded | None] = {}
    for formula in get_args(Formula):
        try:
            weights = tandem_weights(rates, formula)
        except DataError:  # nothing to normalise by
            found[formula] = None
            continue
        interval = t_dcf_interval(bona_fide, spoof, weights, bootstrap=bootstrap, seed=seed, groups=groups)
        found[formula] = Bounded(min_t_dcf(bona_fide, spoof, weights), interval)
    tandem_eer = t_eer(bona_fide, spoof, *asv)
    return TandemRates(target, nontarget, spoofed, both, rates, found["2019"], found["2021"], tandem_eer)
