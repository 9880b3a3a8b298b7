"""What operations give back: plain figures, and the same as JSON values under the contract's keys.

Rates are fractions, scores and thresholds nats, times seconds. None stands for "not measured"; NaN never occurs.
"""

from molex_adapt.reports.analyses import Analysis
from molex_adapt.reports.changes import Change, Comparison, Gain, StageReport
from molex_adapt.reports.clusters import ClusterFeatures, ClusterScores, WorkerShare
from molex_adapt.reports.evaluations import EvaluationReport, HeardInTraining, OtherTies
from molex_adapt.reports.exports import ExportReport
from molex_adapt.reports.scores import RecordingScore, ScoreReport
from molex_adapt.reports.thresholds import ThresholdReport, Unheard
from molex_adapt.reports.transfers import PullReport, PushReport, Replaced, Upstream

__all__ = [
    "Analysis",
    "Change",
    "ClusterFeatures",
    "ClusterScores",
    "Comparison",
    "EvaluationReport",
    "ExportReport",
    "Gain",
    "HeardInTraining",
    "OtherTies",
    "PullReport",
    "PushReport",
    "RecordingScore",
    "Replaced",
    "ScoreReport",
    "StageReport",
    "ThresholdReport",
    "Unheard",
    "Upstream",
    "WorkerShare",
]
