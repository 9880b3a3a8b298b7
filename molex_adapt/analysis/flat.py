"""Every number of an analysis as flat tables: what the page shows sorted and filtered, and what goes into files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from molex_adapt.findings import Ablation, Distance, WithoutWitness
from molex_adapt.reports import Analysis

Value: TypeAlias = str | int | float | None


@dataclass(frozen=True)
class FlatTable:
    """One kind of number: rows of equal length under the names of columns."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def records(self) -> list[dict[str, Value]]:
        """Each row by the names of its columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def flat_tables(report: Analysis, last_expert: Sequence[DomainChange] = ()) -> list[FlatTable]:
    """All tables that have rows, the most telling first."""
    found = [
        _table(
            "verdicts",
            "Who catches what",
            ("attack", "verdict", "experts", "witnesses", "sentence"),
            _verdicts(report),
        ),
        _table("errors", "EER of the whole and of its parts", _ERRORS, _errors(report)),
        _table(
            "witnesses",
            "The readout's witnesses: whose attack, and the EER without each",
            _WITNESS,
            _witnesses(report),
        ),
        _table("named", "Recordings whose own witness is the likeliest", _NAMED, _named(report)),
        _table("usage", "Mean gate, before and after top-k", _USAGE, _usage(report)),
        _table("ablation", "Each expert switched off", _ABLATION, _ablation(report)),
        _table(
            "moved",
            "Share of all movement of the scores; of the readout, all that it adds",
            ("attack", "part", "share"),
            _moved(report),
        ),
        _table(
            "distances", "Distance between routing profiles", _DISTANCE, _pairs(report.findings.distances)
        ),
        _table("controls", "What must not differ", _DISTANCE, _pairs(report.findings.controls)),
        _table("within", "Distance from bona fide speech in the same condition", _WITHIN, _within(report)),
        _table("blocks", "What each block does", _DEPTH, _depth(report)),
        _table("last_expert", "EER before and after the last expert", _LAST, _last(last_expert)),
        _table("cells", "By attack, condition, block and expert", _CELL, _cells(report)),
        _table("entropy", "Entropy by attack, condition and block", _ENTROPY, _entropies(report)),
        _table("co_firing", "How often two experts act together", _TOGETHER, _together(report)),
        _table(
            "scores", "Histograms of the scores", ("attack", "from_nats", "to_nats", "count"), _scores(report)
        ),
        _table("det", "Error curves", ("attack", "false_alarm", "miss"), _det(report)),
    ]
    return [table for table in found if table.rows]


@dataclass(frozen=True, slots=True)
class DomainChange:
    """EER of one domain before and after something was done to the detector, on the same recordings."""

    domain: str
    before: float
    after: float
    change_ci: tuple[float, float] | None


_ERRORS = (
    *("attack", "eer", "eer_low", "eer_high", "without_experts", "readout_alone", "experts_change"),
    *("change_low", "change_high", "mean_score", "bona_fide", "spoof"),
)
_USAGE = ("attack", "expert", "gate", "before_top_k", "selected", "top_1", "utterances")
_ABLATION = (
    *("attack", "expert", "gates_to", "eer_change", "eer_low", "eer_high", "score_change", "score_low"),
    *("score_high", "moved", "utterances", "together_low", "together_high", "certain"),
)
_WITNESS = (
    *("attack", "witness", "blamed", "eer_change", "eer_low", "eer_high", "together_low", "together_high"),
    "certain",
)
_NAMED = ("attack", "named", "named_low", "named_high", "utterances")
_DISTANCE = (
    "one",
    "other",
    "distance",
    "low",
    "high",
    "by_chance",
    "p",
    "p_corrected",
    "sources_one",
    "sources_other",
)
_WITHIN = (
    *("attack", "condition", "distance", "low", "high", "by_chance", "p", "p_corrected"),
    *("sources_attack", "sources_bona_fide", "channel_effect", "beyond_channel"),
)
_DEPTH = ("block", "information_bits", "distance", "entropy_bits", "busiest", "share")
_LAST = ("domain", "before", "after", "change_low", "change_high")
_CELL = (
    *("attack", "condition", "label", "block", "expert", "gate", "before_top_k", "selected", "top_1"),
    "utterances",
)
_ENTROPY = ("attack", "condition", "label", "block", "entropy_bits", "entropy_before_bits", "utterances")
_TOGETHER = ("attack", "one", "other", "share")


def _table(name: str, title: str, columns: tuple[str, ...], rows: Iterable[Sequence[Value]]) -> FlatTable:
    return FlatTable(name, title, columns, tuple(tuple(row) for row in rows))


def _verdicts(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.verdicts:
        yield item.attack, item.kind, ", ".join(item.experts), ", ".join(item.witnesses), item.sentence


def _errors(report: Analysis) -> Iterable[Sequence[Value]]:
    for name, item in report.findings.errors.items():
        own, change = (interval or (None, None) for interval in (item.eer_ci, item.experts_ci))
        parts = item.without_experts, item.readout_alone, item.experts_change, *change
        yield name, item.eer, *own, *parts, item.mean_score, item.bona_fide, item.spoof


def _usage(report: Analysis) -> Iterable[Sequence[Value]]:
    nothing: Mapping[str, float] = {}
    for name in report.attacks:
        columns = (
            report.usage[name],
            *(
                found.get(name, nothing)
                for found in (report.usage_before_top_k, report.selected, report.top_1)
            ),
        )
        for expert in report.experts:
            yield name, expert, *(own.get(expert) for own in columns), report.utterances.get(name)


def _ablation(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.ablation:
        rates = item.eer_change, *(item.eer_ci or (None, None))
        scores = item.score_change, *item.score_ci, item.moved
        together = item.eer_ci_together or (None, None)
        yield (
            item.attack,
            item.expert,
            item.heirs,
            *rates,
            *scores,
            item.utterances,
            *together,
            _certain(item),
        )


def _witnesses(report: Analysis) -> Iterable[Sequence[Value]]:
    without = {(item.attack, item.witness): item for item in report.findings.without_witness}
    blamed = {
        (item.attack, name): share
        for item in report.findings.testimony
        for name, share in item.blamed.items()
    }
    for attack, witness in dict.fromkeys([*blamed, *without]):
        item = without.get((attack, witness))
        own, together = (item.eer_ci, item.eer_ci_together) if item else (None, None)
        change = None if item is None else item.eer_change
        ends = (*(own or (None, None)), *(together or (None, None)))
        yield attack, witness, blamed.get((attack, witness)), change, *ends, _certain(item) if item else None


def _named(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.testimony:
        if item.named is not None:
            yield item.attack, item.named, *(item.named_ci or (None, None)), item.utterances


def _certain(item: Ablation | WithoutWitness) -> str | None:
    return "rises" if item.is_needed else "falls" if item.is_harmful else None


def _moved(report: Analysis) -> Iterable[Sequence[Value]]:
    for name, shares in report.findings.moved.items():
        yield name, "the readout", report.findings.moved_by_readout[name]
        for expert, share in shares.items():
            yield name, expert, share


def _pairs(found: Iterable[Distance]) -> Iterable[Sequence[Value]]:
    for item in found:
        yield (
            item.one,
            item.other,
            item.distance,
            *item.ci,
            item.chance,
            item.p,
            item.p_corrected,
            *item.sources,
        )


def _within(report: Analysis) -> Iterable[Sequence[Value]]:
    words = {True: "yes", False: "no", None: None}
    for item in report.findings.within:
        figures = item.distance, *item.ci, item.chance, item.p, item.p_corrected, *item.sources
        yield item.attack, item.condition, *figures, item.channel, words[item.beyond_channel]


def _depth(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.depth:
        yield item.block, item.information_bits, item.distance, item.entropy_bits, item.busiest, item.share


def _last(found: Iterable[DomainChange]) -> Iterable[Sequence[Value]]:
    for item in found:
        yield item.domain, item.before, item.after, *(item.change_ci or (None, None))


def _cells(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.cells:
        grids = (item.gates, item.before_top_k, item.selected, item.top_1)
        for block, rows in enumerate(zip(*grids, strict=True)):
            for expert, values in zip(report.experts, zip(*rows, strict=True), strict=True):
                where = item.attack, item.condition, item.label, block + 1, expert
                yield *where, *values, item.utterances


def _entropies(report: Analysis) -> Iterable[Sequence[Value]]:
    for item in report.findings.cells:
        for block, values in enumerate(zip(item.entropy_bits, item.entropy_before_bits, strict=True)):
            yield item.attack, item.condition, item.label, block + 1, *values, item.utterances


def _together(report: Analysis) -> Iterable[Sequence[Value]]:
    for name, rows in report.findings.co_firing.items():
        for one, row in zip(report.experts, rows, strict=True):
            for other, share in zip(report.experts, row, strict=True):
                yield name, one, other, share


def _scores(report: Analysis) -> Iterable[Sequence[Value]]:
    curves = report.findings.curves
    if curves is None:
        return
    for name, counts in curves.counts.items():
        for low, high, count in zip(curves.edges, curves.edges[1:], counts, strict=False):
            yield name, low, high, count


def _det(report: Analysis) -> Iterable[Sequence[Value]]:
    curves = report.findings.curves
    for name, points in curves.det.items() if curves else ():
        for false_alarm, miss in points:
            yield name, false_alarm, miss
