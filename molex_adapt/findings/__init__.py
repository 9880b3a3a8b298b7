"""What analyses find: plain figures, for reports and pages.

Rates and shares are fractions, scores nats, entropies and divergences bits; intervals are 95 % bootstrap intervals over
source recordings. None stands for "not measured"; NaN never occurs.
"""

from molex_adapt.findings.handover import Handover, Handovers
from molex_adapt.findings.labelled import (
    Ablation,
    AttackVerdict,
    Cell,
    Clustering,
    Depth,
    Distance,
    Errors,
    Findings,
    Grid,
    Health,
    Interval,
    Probe,
    ScoreCurves,
    Testimony,
    Within,
    WithoutWitness,
)
from molex_adapt.findings.novel import LeftOut, NovelGroup, Novelty, Unlike
from molex_adapt.findings.over_time import Moment, Stretch, Timeline

__all__ = [
    "Ablation",
    "AttackVerdict",
    "Cell",
    "Clustering",
    "Depth",
    "Distance",
    "Errors",
    "Findings",
    "Grid",
    "Handover",
    "Handovers",
    "Health",
    "Interval",
    "LeftOut",
    "Moment",
    "NovelGroup",
    "Novelty",
    "Probe",
    "ScoreCurves",
    "Stretch",
    "Testimony",
    "Timeline",
    "Unlike",
    "Within",
    "WithoutWitness",
]
