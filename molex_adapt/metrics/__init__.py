"""Metrics of scores: EER, minDCF, actDCF, Cllr, t-DCF and more, with intervals. Higher scores are more bona fide.

The definitions are those of the ASVspoof 5 evaluation package, written anew, and so are the figures: the same
scores give what a paper reports. There are two differences, where the package's answer depends on more than the scores:

* Ties. The package sorts single utterances, bona fide before spoof where scores tie, and so visits
  "thresholds" between equal scores that no decision can realise: with every score equal its EER is 1.0, and
  would be 0.0 had it put the spoofs first. That is `ties="asvspoof5"`, the default. With `ties="step"` a
  threshold accepts or rejects equal scores together, and constant scores give 0.5. minDCF, actDCF and Cllr
  agree either way: the package's extra points never cost less than a real one, and the other two do not sort.
* Cllr of a bona fide score below, or a spoof score above, about 709 nats on the wrong side is infinite in
  the package, by overflow; here it is the number it should be.

NaN, infinite or missing scores are errors; a figure is never invented.
"""

from __future__ import annotations

from molex_adapt.conventions import FEWEST_FOR_INTERVAL
from molex_adapt.metrics.bootstrap import (
    eer_interval,
    mean_eer_interval,
    paired_change,
    paired_changes,
    resampled_eers,
)
from molex_adapt.metrics.cost_intervals import CostIntervals, cost_intervals, eer_and_cost_intervals
from molex_adapt.metrics.curve import (
    ASVSPOOF5,
    Costs,
    Curve,
    Ties,
    act_dcf,
    cllr,
    det_curve,
    eer,
    eer_threshold,
    error_rates,
    min_dcf,
)
from molex_adapt.metrics.evaluation_curves import EvaluationCurves, curves_of
from molex_adapt.metrics.rates import (
    Breakdown,
    Rates,
    measure,
    measure_by_attack,
    measure_by_condition,
    measure_grid,
    measure_with_intervals,
)
from molex_adapt.metrics.refusals import (
    Refusals,
    RefusalsChange,
    count_refusals,
    paired_refusals,
    refusals_by_condition,
    threshold_for_new_voices,
)
from molex_adapt.metrics.resampling import split_groups
from molex_adapt.metrics.tandem import (
    A_DCF,
    T_DCF,
    AsvRates,
    Formula,
    TandemWeights,
    TrialCosts,
    a_dcf,
    asv_rates,
    min_t_dcf,
    t_eer,
    tandem_weights,
)
from molex_adapt.metrics.tandem_intervals import (
    TrialGroups,
    a_dcf_interval,
    t_dcf_interval,
    t_dcf_intervals,
    t_eer_interval,
)
from molex_adapt.metrics.tandem_parts import TANDEM_FIGURES, TandemFigures, TandemParts, tandem_figures
from molex_adapt.metrics.tandem_rates import Bounded, TandemRates, measure_tandem

__all__ = [
    "ASVSPOOF5",
    "A_DCF",
    "FEWEST_FOR_INTERVAL",
    "TANDEM_FIGURES",
    "T_DCF",
    "AsvRates",
    "Bounded",
    "Breakdown",
    "CostIntervals",
    "Costs",
    "Curve",
    "EvaluationCurves",
    "Formula",
    "Rates",
    "Refusals",
    "RefusalsChange",
    "TandemFigures",
    "TandemParts",
    "TandemRates",
    "TandemWeights",
    "Ties",
    "TrialCosts",
    "TrialGroups",
    "a_dcf",
    "a_dcf_interval",
    "act_dcf",
    "asv_rates",
    "cllr",
    "cost_intervals",
    "count_refusals",
    "curves_of",
    "det_curve",
    "eer",
    "eer_and_cost_intervals",
    "eer_interval",
    "eer_threshold",
    "error_rates",
    "mean_eer_interval",
    "measure",
    "measure_by_attack",
    "measure_by_condition",
    "measure_grid",
    "measure_tandem",
    "measure_with_intervals",
    "min_dcf",
    "min_t_dcf",
    "paired_change",
    "paired_changes",
    "paired_refusals",
    "refusals_by_condition",
    "resampled_eers",
    "split_groups",
    "t_dcf_interval",
    "t_dcf_intervals",
    "t_eer",
    "t_eer_interval",
    "tandem_figures",
    "tandem_weights",
    "threshold_for_new_voices",
]
