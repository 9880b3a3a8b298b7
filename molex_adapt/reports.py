"""What operations give back: plain figures, and the same as JSON values under the contract's keys.

Rates are fractions, scores and thresholds nats, times seconds. None stands for "not measured"; NaN never occurs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from molex_adapt.conventions import Seconds
from molex_adapt.data.heard import Heard
from molex_adapt.data.remarks import Remark
from molex_adapt.data.table import Failed
from molex_adapt.decision import DecisionRule, Outcome
from molex_adapt.findings import Findings
from molex_adapt.metrics import Rates, Refusals, RefusalsChange, Ties


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation did to one domain, on the same utterances before and after."""

    eer: float
    """After minus before; negative is better."""
    interval: tuple[float, float]
    """Paired bootstrap interval of `eer`."""
    miss: tuple[float, float]
    """Bona fide speech refused at the frozen threshold, before and after."""
    false_alarm: tuple[float, float]
    """Spoofed speech accepted at the frozen threshold, before and after."""
    bona_fide_shift: float
    """Mean score of bona fide speech, after minus before, in nats."""
    spoof_shift: float
    """Mean score of spoofed speech, after minus before, in nats."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"eer": self.eer, "eer_ci": list(self.interval), **self.drift()}

    def drift(self) -> dict[str, Any]:
        """All but the EER, as JSON values; pairs are [before, after]."""
        return {
            "miss": list(self.miss),
            "false_alarm": list(self.false_alarm),
            "bona_fide_shift": self.bona_fide_shift,
            "spoof_shift": self.spoof_shift,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Domains before and after an operation, on the same recordings."""

    before: dict[str, Rates]
    after: dict[str, Rates]
    change: dict[str, Change] = field(default_factory=dict)
    novel: str | None = None
    """The domain that an expert was added for; None where none was added to others."""
    real_speech: RefusalsChange | None = None
    """Bona fide speech of all these domains that the frozen threshold refuses; None where it was not measured."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "bona_fide_refused": None if self.real_speech is None else self.real_speech.as_dict(),
            "before": _figures(self.before),
            "after": _figures(self.after),
            "change": {
                name: {"eer": item.eer, "eer_ci": list(item.interval)} for name, item in self.change.items()
            },
            "drift": {domain: item.drift() for domain, item in self.change.items()},
        }


@dataclass(frozen=True, kw_only=True)
class StageReport(Comparison):
    """What training (`train`, `add-expert`, `retrain-router`) came to, domain by domain."""

    expert: str | list[str]
    """The new expert, or several, or an empty list where none is new."""
    generation: int
    activated: bool
    """Whether that generation is the active one now; if not, `refused` says why."""
    seconds: dict[str, Seconds] = field(default_factory=dict)
    """Of the stages `expert` and `router`, and of measuring: `evaluate`."""
    failed: tuple[Failed, ...] = ()
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    """Old domains without anything left to measure on."""
    withdrawn: bool = False
    """Whether the new expert did harm, so that it is kept with closed gates."""
    training: dict[str, Any] = field(default_factory=dict)
    """How each stage went: steps, best step, losses; JSON values."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "expert": self.expert,
            "generation": self.generation,
            "activated": self.activated,
            **super().as_dict(),
            "seconds": dict(self.seconds),
            "failed": _failures(self.failed),
            "remarks": list(self.remarks),
            "refused": list(self.refused),
            "not_measured": list(self.not_measured),
            "withdrawn": self.withdrawn,
            "training": dict(self.training),
        }


@dataclass(frozen=True)
class Unheard:
    """What a threshold refused of real speech by voices that it was not chosen on, when it was measured."""

    refused: float
    """Share of the recordings."""
    recordings: int
    voices: int
    generation: int
    """The one that it was measured with; later ones keep the threshold, and may refuse another share."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        told = f"{100 * self.refused:.1f} % of {self.recordings:,} real recordings by {self.voices} voices"
        return f"{told} that it was not chosen on were below it, measured with generation {self.generation}"


@dataclass(frozen=True, kw_only=True)
class ThresholdReport:
    """What another threshold does; pairs are before and after."""

    generation: int
    asked: float
    """The largest share of the real recordings that it may refuse."""
    threshold: tuple[float, float]
    """Nats."""
    refused: tuple[Refusals, Refusals]
    """Of the real recordings that it was chosen on."""
    voices: dict[str, tuple[Refusals, Refusals]]
    """The same by speaker, where there are several, and enough of each."""
    accepted: dict[str, tuple[float, float]]
    """Of forged recordings beside them, by attack; they decide nothing."""
    change: dict[str, Change]
    """Of the known domains, on the exemplars kept of them."""
    unheard: Unheard | None = None
    """Each voice at the threshold that the others choose; None where fewer than two are named."""
    failed: tuple[Failed, ...] = ()
    seconds: Seconds = 0.0
    """Wall-clock time."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; pairs are [before, after]."""
        return {
            "generation": self.generation,
            "asked": self.asked,
            "threshold": list(self.threshold),
            "bona_fide_refused": [item.as_dict() for item in self.refused],
            "voices": {name: [item.as_dict() for item in both] for name, both in self.voices.items()},
            "accepted": {name: list(both) for name, both in self.accepted.items()},
            "drift": {domain: item.drift() for domain, item in self.change.items()},
            "unheard": None if self.unheard is None else self.unheard.as_dict(),
            "failed": _failures(self.failed),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class RecordingScore:
    """One recording's score: a log-likelihood ratio in nats, higher is more bona fide."""

    path: str
    score: float
    seconds: Seconds
    """Length of the recording."""
    heard: Heard | None = None
    """How much speech, how loud and in which band; None for a score from elsewhere."""
    remarks: tuple[Remark, ...] = ()
    """Where the recording lies outside what the detector learnt from."""
    decision: Outcome | None = None
    """At the generation's threshold; None where there is none."""
    probability: float | None = None
    """Of bona fide speech, at the report's prior."""
    experts: dict[str, float] = field(default_factory=dict)
    """How much each expert spoke; shares sum to 1."""
    lowest: float | None = None
    """The score of the window that speaks most against it; None where all of it was heard in one."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; of a remark, its sentence."""
        return {**asdict(self), "remarks": [remark.text for remark in self.remarks]}

    def loudest(self, least: float = 0.1) -> list[tuple[str, float]]:
        """The experts with at least this share, the loudest first."""
        heard = [pair for pair in self.experts.items() if pair[1] >= least]
        return sorted(heard, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class ScoreReport:
    """Scores in the order asked for, and what could not be scored."""

    scores: tuple[RecordingScore, ...]
    failed: tuple[Failed, ...] = ()
    generation: int | None = None
    threshold: float | None = None
    """Nats; at least this score reads as bona fide."""
    seconds: Seconds = 0.0
    """Wall-clock time."""
    remarks: list[str] = field(default_factory=list)
    """A line for each kind of remark that some recordings have."""
    passed_over: tuple[str, ...] = ()
    """Files beside them that hold no audio."""
    rule: DecisionRule | None = None
    """How the scores were read: prior, and the error from which on nothing is decided."""
    unheard: Unheard | None = None
    """How often the threshold calls real speech of unheard voices forged, as far as that was measured."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "scores": [item.as_dict() for item in self.scores],
            "failed": _failures(self.failed),
            "passed_over": list(self.passed_over),
            "prior": None if self.rule is None else self.rule.prior,
            "most_error": None if self.rule is None else self.rule.error,
            "generation": self.generation,
            "threshold": self.threshold,
            "unheard": None if self.unheard is None else self.unheard.as_dict(),
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, slots=True)
class OtherTies:
    """EERs by the other reading of equal scores, where they differ from the report's."""

    ties: Ties
    """The other reading."""
    overall: float | None = None
    by_attack: dict[str, float] = field(default_factory=dict)
    by_condition: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeardInTraining:
    """What of an evaluated data set the mixture was trained on."""

    recordings: int
    by_expert: dict[str, int]
    without: Rates | None
    """Of those that neither training nor calibration heard; None where a class is missing among them."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        rest = None if self.without is None else _measured(self.without)
        return {"recordings": self.recordings, "by_expert": dict(self.by_expert), "without": rest}


@dataclass(frozen=True)
class EvaluationReport:
    """How good scores are: together, per attack, per condition and per attack in each condition."""

    overall: Rates
    by_attack: dict[str, Rates]
    by_condition: dict[str, Rates | None] = field(default_factory=dict)
    """None: a class is missing there."""
    by_attack_and_condition: dict[str, dict[str, Rates | None]] = field(default_factory=dict)
    """By attack, then by condition; None: no bona fide speech in that condition."""
    threshold: float | None = None
    """Nats, as in `ScoreReport`; None: none is known, and what it refuses is not measured."""
    refused: Refusals | None = None
    """Of all bona fide speech, at the threshold."""
    refused_by_condition: dict[str, Refusals] = field(default_factory=dict)
    failed: tuple[Failed, ...] = ()
    generation: int | None = None
    remarks: list[str] = field(default_factory=list)
    ties: Ties = "asvspoof5"
    """How equal scores were read."""
    other_ties: OtherTies = OtherTies("step")
    heard_in_training: HeardInTraining | None = None
    """None: no record says that the mixture learnt from this data set."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; of too few recordings, `eer_ci` is None."""
        return {
            "overall": _measured(self.overall),
            "by_attack": _all_measured(self.by_attack),
            "by_condition": _all_measured(self.by_condition),
            "by_attack_and_condition": {
                attack: _all_measured(row) for attack, row in self.by_attack_and_condition.items()
            },
            "bona_fide_refused": self._refusals(),
            "failed": _failures(self.failed),
            "generation": self.generation,
            "remarks": list(self.remarks),
            "ties": self.ties,
            "other_ties": asdict(self.other_ties),
            "heard_in_training": None if self.heard_in_training is None else self.heard_in_training.as_dict(),
        }

    def _refusals(self) -> dict[str, Any] | None:
        """None where there is no threshold."""
        if self.threshold is None or self.refused is None:
            return None
        return {
            "threshold": self.threshold,
            "overall": self.refused.as_dict(),
            "by_condition": {name: item.as_dict() for name, item in self.refused_by_condition.items()},
        }


@dataclass(frozen=True)
class Analysis:
    """Which experts fire for which attack; rows are named by attack, or "bonafide", in one order throughout."""

    experts: list[str]
    """In router order."""
    attacks: list[str]
    """The rows."""
    blocks: int
    """L, the number of routed transformer blocks."""
    usage: dict[str, dict[str, float]]
    """Mean share after top-k per row and expert, over all blocks; a row sums to 1."""
    usage_by_block: dict[str, list[list[float]]]
    """(L, E) per row; a block's shares sum to 1."""
    usage_before_top_k: dict[str, dict[str, float]] = field(default_factory=dict)
    top_1: dict[str, dict[str, float]] = field(default_factory=dict)
    """How often each expert has the largest share."""
    selected: dict[str, dict[str, float]] = field(default_factory=dict)
    """How often each expert is among the top k."""
    entropy_bits: dict[str, float] = field(default_factory=dict)
    utterances: dict[str, int] = field(default_factory=dict)
    """How many each row was averaged over."""
    generation: int | None = None
    failed: tuple[Failed, ...] = ()
    remarks: list[str] = field(default_factory=list)
    threshold: float | None = None
    """Nats, as in `ScoreReport`; None where it is not known."""
    findings: Findings = field(default_factory=Findings)
    """What is beside the shares."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "failed": _failures(self.failed)}


@dataclass(frozen=True)
class PushReport:
    """What was, or would be, uploaded."""

    repository: str
    """ORG/REPO."""
    revision: str | None
    """The branch; None for the default one."""
    commit: str | None
    """None for a dry run."""
    changed: bool
    """Whether there is a new commit; False where the repository held all of it already, and for a dry run."""
    files: dict[str, int]
    """Bytes by path."""
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "changed": self.changed,
            "dry_run": self.commit is None,
            "files": [{"path": path, "bytes": size} for path, size in self.files.items()],
            "bytes": sum(self.files.values()),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, kw_only=True)
class PullReport(Comparison):
    """What a pull brought, and what it did to every domain that can be measured."""

    expert: str | list[str]
    """The expert, or all of a mixture's."""
    repository: str
    commit: str
    """The resolved commit, which the registry keeps."""
    generation: int
    activated: bool
    """Whether that generation is the active one now; if not, `refused` says why."""
    rows: str | None = None
    """Where its router rows come from: carried, aligned, heard, centred or mean; None for a mixture."""
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "expert": self.expert,
            "repository": self.repository,
            "commit": self.commit,
            "generation": self.generation,
            "activated": self.activated,
            "rows": self.rows,
            **super().as_dict(),
            "remarks": list(self.remarks),
            "refused": list(self.refused),
            "not_measured": list(self.not_measured),
        }


@dataclass(frozen=True, slots=True)
class Upstream:
    """Something that was pulled, beside what its repository holds now."""

    what: str
    """The expert; "mixture" for a whole one."""
    repository: str
    revision: str | None
    commit: str
    newest: str | None
    """The commit there now; None where the Hub could not say."""
    modified: str | None = None
    problem: str | None = None
    """Why the Hub could not say."""

    @property
    def outdated(self) -> bool:
        """Whether there is another commit now."""
        return self.newest is not None and self.newest != self.commit

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "outdated": self.outdated}


def _figures(rates: Mapping[str, Rates | None]) -> dict[str, Any]:
    return {name: None if item is None else item.as_dict() for name, item in rates.items()}


def _measured(rates: Rates) -> dict[str, Any]:
    """Without an interval where there are too few recordings for one."""
    return rates.as_dict() | ({} if rates.has_interval else {"eer_ci": None})


def _all_measured(rates: Mapping[str, Rates | None]) -> dict[str, Any]:
    return {name: None if item is None else _measured(item) for name, item in rates.items()}


def _failures(failed: Iterable[Failed]) -> list[dict[str, str]]:
    return [{"path": item.path, "reason": item.reason} for item in failed]
