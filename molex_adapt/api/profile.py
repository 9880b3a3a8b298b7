"""The routing profile that a generation's record keeps: written when it is made, shown at once without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molex_adapt.registry import GenerationRecord
from molex_adapt.reports import Analysis

MOST_FIGURES = 20_000
"""Shares by block in a record, which every command reads; beyond it, a record keeps the shares over all blocks."""
_DIGITS = 4


def profile_of(report: Analysis) -> dict[str, Any]:
    """What a record keeps of an analysis of check exemplars; shares are rounded to four digits."""
    parts: dict[str, Any] = {
        "usage": report.usage,
        "usage_before_top_k": report.usage_before_top_k,
        "selected": report.selected,
        "top_1": report.top_1,
        "entropy_bits": report.entropy_bits,
        "utterances": report.utterances,
    }
    if report.drawn:
        parts["drawn"] = report.drawn
    if len(report.attacks) * report.blocks * len(report.experts) <= MOST_FIGURES:
        parts["usage_by_block"] = report.usage_by_block
    found: dict[str, Any] = _rounded(parts)
    return found


def stored_analysis(record: GenerationRecord) -> Analysis | None:
    """The analysis that a record keeps; None where it keeps none, or was written before blocks were kept."""
    profile = record.profile
    by_block = profile.get("usage_by_block")
    if not isinstance(by_block, Mapping) or not by_block or not _is_whole(profile, by_block, record.names):
        return None
    # A record sorts its keys; bona fide speech stands last everywhere.
    attacks = sorted(by_block, key=lambda name: (name == "bonafide", name))
    parts: dict[str, Any] = {name: {attack: profile[name][attack] for attack in attacks} for name in _PARTS}
    return Analysis(
        experts=record.names,
        attacks=attacks,
        blocks=len(by_block[attacks[0]]),
        generation=record.number,
        threshold=record.threshold,
        drawn=_counts(profile.get("drawn")),
        **parts,
    )


def _counts(kept: Any) -> dict[str, int]:
    """Empty where a record keeps none, or something else."""
    known = isinstance(kept, Mapping) and all(type(count) is int for count in kept.values())
    return dict(kept) if known else {}


_PARTS = (
    *("usage", "usage_by_block", "usage_before_top_k", "selected", "top_1", "entropy_bits"),
    "utterances",
)


def _is_whole(profile: Mapping[str, Any], by_block: Mapping[str, Any], experts: list[str]) -> bool:
    """Whether every part is there for every attack and expert: a record may come from anywhere."""
    parts = [profile.get(name) for name in _PARTS]
    if not all(isinstance(part, Mapping) and part.keys() == by_block.keys() for part in parts):
        return False
    shares = ("usage", "usage_before_top_k", "selected", "top_1")
    named = all(
        isinstance(row, Mapping) and list(map(str, row)) and set(row) == set(experts)
        for name in shares
        for row in profile[name].values()
    )
    depths = {len(rows) if isinstance(rows, list) else 0 for rows in by_block.values()}
    rows = [row for grid in by_block.values() if isinstance(grid, list) for row in grid]
    return (
        named and len(depths) == 1 and all(isinstance(row, list) and len(row) == len(experts) for row in rows)
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, _DIGITS) if isinstance(value, float) else value
