"""An analysis on 80 columns: attacks are rows, experts columns; what is too wide goes on in a further table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from molex_adapt.cli.paged import add_figures, paged, whole_words
from molex_adapt.cli.tables import empty_table, failures, reach
from molex_adapt.text import visible

if TYPE_CHECKING:
    from molex_adapt.findings import Ablation, Distance, Findings, Within, WithoutWitness
    from molex_adapt.reports import Analysis

_BLOCKS = " ▏▎▍▌▋▊▉█"
_HEAT = ("grey50", "blue", "cyan", "green", "yellow", "bold red")
_ALIKE = 0.05
_READOUT = "the readout"
_NO_EXPERT = "no expert"
"""Both beside experts, whose names have no spaces."""
_MOST_LISTED = 8
_TOO_FEW = "too few"
"""Recordings for an interval."""


def analysis_view(report: Analysis) -> list[RenderableType]:
    """Shares, and after them whatever was tested; nothing of experts where none acts."""
    found = report.findings
    if not report.experts_act:
        idle = Text(
            "No expert acts on this speech: each is withdrawn, or was not trained. The readout alone speaks."
        )
        return [
            *_sentences(found),
            idle,
            Text(),
            *_errors(found),
            *_testimony(report),
            *failures(report.failed),
        ]
    return [
        *_sentences(found),
        *share_tables("Which experts act: mean gate over all blocks, after top-k", report),
        *_errors(found),
        *_testimony(report),
        *_ablation(report),
        *_alike(found),
        *_by_block(report),
        *_closing(found),
        *failures(report.failed),
    ]


def share_tables(title: str, report: Analysis) -> list[Table]:
    """Mean shares of the gates, a row per attack and a column per expert; as many tables as 80 columns ask for.

    One more column has what the frozen base keeps, where that is anything.
    """
    counts = {name: _counted(report, name) for name in report.utterances}
    kept = report.frozen_base
    return paged(
        title,
        ("speech", report.attacks),
        [_NO_EXPERT, *report.experts] if kept else report.experts,
        lambda row, part: share_cell(kept[row] if part == _NO_EXPERT else report.usage[row][part]),
        ("n", counts),
    )


def _counted(report: Analysis, name: str) -> str:
    """How many recordings, and draws where there are none or beside them."""
    count, drawn = report.utterances[name], report.drawn.get(name, 0)
    parts = [str(count)] if count or not drawn else []
    return " + ".join([*parts, *([f"{drawn} drawn"] if drawn else [])])


def share_cell(share: float) -> Text:
    """A percentage with a bar of two cells, coloured by its height."""
    eighths = max(0, min(16, round(16 * share)))
    bar = "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
    style = _HEAT[min(len(_HEAT) - 1, int(share * len(_HEAT)))]
    return Text(f"{bar:<2}{100 * share:4.0f} %", style=style)


def _sentences(found: Findings) -> list[RenderableType]:
    styles = {"nobody": "red", "unclear": "yellow"}
    lines = [Text(visible(item.sentence), style=styles.get(item.kind, "")) for item in found.verdicts]
    return (
        [Text("Who catches what", style="bold"), *(Padding(line, (0, 1)) for line in lines), Text()]
        if lines
        else []
    )


def _errors(found: Findings) -> list[RenderableType]:
    if not found.errors:
        return []
    table = empty_table("EER in %: of the whole, without any expert, of the readout alone", "attack")
    add_figures(table, "whole (95 %)", "no experts", "change (95 %)", "readout")
    for name, item in found.errors.items():
        reached = reach(item.eer_ci, 100, 1) if item.eer_ci else _TOO_FEW
        table.add_row(
            whole_words(name),
            f"{100 * item.eer:.1f} ({reached})",
            f"{100 * item.without_experts:.1f}",
            _points(item.experts_change, item.experts_ci),
            "-" if item.readout_alone is None else f"{100 * item.readout_alone:.1f}",
        )
    return [table]


def _ablation(report: Analysis) -> list[RenderableType]:
    found = report.findings
    of = {(item.attack, item.expert): item for item in found.ablation if item.heirs == "others"}
    rows = [name for name in report.attacks if any((name, expert) in of for expert in report.experts)]
    if not rows:
        return []
    rated = any(item.eer_change is not None for item in of.values())
    changed = "the EER in points (bonafide: of the score)" if rated else "the mean score in nats"
    tables = paged(
        f"Without an expert: change of {changed}",
        ("speech", rows),
        report.experts,
        lambda row, expert: _lost(of[row, expert]),
    )
    moved = paged(
        "What moves the scores: share of all movement",
        ("speech", rows),
        [_READOUT, *report.experts],
        lambda row, part: share_cell((found.moved[row] | {_READOUT: found.moved_by_readout[row]})[part]),
    )
    return [*tables, *_stars(list(of.values()), "experts"), *moved]


def _testimony(report: Analysis) -> list[RenderableType]:
    """Whose attack it would be, and what the EER is without a witness of the readout."""
    found = report.findings
    of = {item.attack: item for item in found.testimony}
    parts: list[RenderableType] = []
    if of:
        names = list(found.testimony[0].blamed)
        named = {
            name: "-" if item.named is None else f"{100 * item.named:.0f} %" for name, item in of.items()
        }
        parts += paged(
            "Whose attack it would be, were it forged, by the readout's witnesses",
            ("speech", list(of)),
            names,
            lambda row, name: share_cell(of[row].blamed[name]),
            ("right", named),
        )
    without = {(item.attack, item.witness): item for item in found.without_witness}
    if without:
        parts += paged(
            "Without a witness of the readout: change of the EER in points",
            ("attack", list(dict.fromkeys(attack for attack, _ in without))),
            list(dict.fromkeys(witness for _, witness in without)),
            lambda row, name: _lost(without[row, name]),
        )
        parts += _stars(found.without_witness, "witnesses")
    return parts


def _stars(found: Sequence[Ablation | WithoutWitness], what: str) -> list[RenderableType]:
    """What a star says, where there is one."""
    if not any(item.is_needed or item.is_harmful for item in found):
        return []
    return [Text(f"* certain among all attacks and {what}; other changes can be chance"), Text()]


def _lost(item: Ablation | WithoutWitness) -> Text:
    if item.eer_change is None:
        return Text(f"{item.score_change:+.2f}", style="grey50")
    style = "bold red" if item.is_needed else "green" if item.is_harmful else "grey50"
    star = "*" if item.is_needed or item.is_harmful else ""
    return Text(f"{100 * item.eer_change:+.1f}{star}", style=style)


def _points(change: float, interval: tuple[float, float] | None) -> Text:
    if interval is None:
        return Text(f"{100 * change:+.1f} ({_TOO_FEW})")
    low, high = interval
    style = "red" if low > 0 else "green" if high < 0 else ""
    return Text(f"{100 * change:+.1f} ({100 * low:+.1f} {100 * high:+.1f})", style=style)


def _alike(found: Findings) -> list[RenderableType]:
    lines: list[RenderableType] = []
    same = [item for item in found.distances if item.p_corrected >= _ALIKE]
    same.sort(key=lambda item: (-item.p_corrected, -item.p))
    if found.distances:
        told = len(found.distances) - len(same)
        pooled = ", all conditions together" if found.within else ""
        said = f"Routed apart: {told} of {len(found.distances)} pairs (p < 0.05, corrected){pooled}"
        lines.append(Text(said))
    lines += _first([_pair("not apart", item) for item in same])
    lines += _controls(found.controls)
    lines += _within(found.within)
    return [*lines, Text()] if lines else []


def _pair(what: str, item: Distance) -> Text:
    style = "red" if what == "control" and item.p_corrected < _ALIKE else ""
    return Text(visible(f"{what}: {item.one} and {item.other}, {_distance(item)}"), style=style)


def _controls(found: Sequence[Distance]) -> list[RenderableType]:
    """What must not differ: all of a few; of many, as conditions drawn at random make, how many do, and which most."""
    if len(found) <= _MOST_LISTED:
        return [_pair("control", item) for item in found]
    apart = [item for item in found if item.p_corrected < _ALIKE]
    apart.sort(key=lambda item: (item.p_corrected, -item.distance))
    said = Text(f"Controls told apart: {len(apart)} of {len(found)} (p < 0.05, corrected)")
    return [said, *_first([_pair("control", item) for item in apart])]


def _first(found: Sequence[Text]) -> list[RenderableType]:
    """As many lines as a terminal bears, and how many there are besides."""
    lines: list[RenderableType] = [Padding(line, (0, 1)) for line in found[:_MOST_LISTED]]
    if len(found) > _MOST_LISTED:
        lines.append(Text(f" and {len(found) - _MOST_LISTED} more; see --json"))
    return lines


def _within(found: Sequence[Within]) -> list[RenderableType]:
    """Attacks in their conditions, and those that differ from bona fide speech by less than a condition does."""
    if not found:
        return []
    apart = [item for item in found if item.p_corrected < _ALIKE]
    lines: list[RenderableType] = [
        Text(f"Apart from bona fide speech in the same condition: {len(apart)} of {len(found)}")
    ]
    if found[0].channel is not None:
        beyond = sum(bool(item.beyond_channel) for item in apart)
        lines.append(
            Text(f"Further apart than conditions are (channel effect {found[0].channel:.2f}): {beyond}")
        )
    small = [item for item in found if not item.beyond_channel]
    small.sort(key=lambda item: (-item.p_corrected, -item.p))
    if found[0].channel is None:
        small = [item for item in small if item not in apart]
    words = ["no further" if item in apart else "not apart" for item in small]
    return lines + _first(
        [
            Text(visible(f"{word}: {item.attack}, {item.condition}, {_distance(item)}"))
            for word, item in zip(words, small, strict=True)
        ]
    )


def _distance(item: Distance | Within) -> str:
    return f"distance {item.distance:.2f}, p = {item.p_corrected:.3f}"


def _by_block(report: Analysis) -> list[RenderableType]:
    depth = report.findings.depth
    if not depth:
        return []
    table = empty_table("By block: what routing says of the attack, and the busiest expert")
    add_figures(table, "block", "bits", "distance", "entropy")
    table.add_column("busiest", overflow="fold")
    add_figures(table, "share")
    for item in depth:
        values = item.information_bits, item.distance, item.entropy_bits
        figures = ["-" if value is None else f"{value:.2f}" for value in values]
        busiest = "-" if item.busiest is None else whole_words(item.busiest, 24)
        table.add_row(str(item.block), *figures, busiest, f"{100 * item.share:.0f} %")
    return [table]


def _closing(found: Findings) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if found.probe is not None:
        probe = found.probe
        lines.append(
            Text(
                f"Read from routing alone: {100 * probe.accuracy:.0f} % right, {100 * probe.chance:.0f} % by chance "
                f"(p = {probe.p:.3f})"
            )
        )
    if found.health is not None:
        parts = {"dead": found.health.dead, "that no attack measured here needs": found.health.unneeded}
        lines += [Text(f"Experts {what}: {', '.join(names)}") for what, names in parts.items() if names]
        if found.health.collapsed:
            lines.append(
                Text(f"Blocks with one expert for all: {', '.join(map(str, found.health.collapsed))}")
            )
    return lines
