"""Two generations side by side: what new experts took over, from whom, and for which attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.errors import DataError
from molex_adapt.findings import Handover, Handovers
from molex_adapt.registry import GenerationRecord, Store

if TYPE_CHECKING:  # without data, the comparison comes from records and needs no torch
    from molex_adapt.data import Failed, Table
    from molex_adapt.run import Run

Usage: TypeAlias = Mapping[str, Mapping[str, float]]
"""Mean gate by attack and expert."""


def compare_records(older: GenerationRecord, newer: GenerationRecord) -> Handovers:
    """From the profiles that the records keep.

    Raises:
        DataError: one keeps none.
    """
    usages = [_usage_of(record) for record in (older, newer)]
    for record, usage in zip((older, newer), usages, strict=True):
        if not usage:
            raise DataError(
                f"generation {record.number} keeps no routing profile to compare: its experts kept no exemplars. Give "
                f"labelled recordings: molex-adapt analyze DATA --compare {older.number}"
            )
    return _beside(older, newer, usages[0], usages[1], {})


def compare_on(
    store: Store, older: GenerationRecord, newer: GenerationRecord, table: Table, run: Run
) -> Handovers:
    """Route and score the same recordings with both.

    Raises:
        DataError: none of them can be used.
        ExpertError: one has no experts.
    """
    from dataclasses import replace

    from molex_adapt.analysis import Corpus, shares
    from molex_adapt.analysis.parts import paired_errors
    from molex_adapt.analysis.several import observe_together
    from molex_adapt.data.remarks import on_length, on_table
    from molex_adapt.registry.assemble import build_detector

    corpus, seen, usages = Corpus.of_table(table), [], []
    failed: dict[str, Failed] = {}
    for record in (older, newer):
        detector = build_detector(store, record.number, run.find_device(), precision=run.precision)
        observed, lost = observe_together(detector, table, run)
        failed |= {item.path: item for item in lost}  # a recording may fail between the two
        seen.append(observed)
        usages.append(shares(observed.tally, corpus, detector.mixture.names).usage)
    if not usages[1]:
        raise DataError("none of the recordings can be used for the comparison; give a folder of recordings")
    found = _beside(older, newer, usages[0], usages[1], paired_errors(seen[0], seen[1], corpus))
    longer = on_length(observed.longer, detector.recipe.data.window_seconds)
    return replace(found, failed=tuple(failed.values()), remarks=[*found.remarks, *longer, *on_table(table)])


def _beside(
    older: GenerationRecord,
    newer: GenerationRecord,
    before: Usage,
    after: Usage,
    errors: Mapping[str, Mapping[str, Any]],
) -> Handovers:
    added = [name for name in newer.names if name not in older.names]
    removed = [name for name in older.names if name not in newer.names]
    both = [name for name in after if name in before]
    remarks = []
    lone = sorted((set(before) | set(after)) - set(both))
    if lone:
        remarks.append(f"only one of the generations knows {', '.join(lone)}")
    shut = [name for name in added if not any(row.get(name) for row in after.values())]
    if shut:
        remarks.append(
            f"{', '.join(shut)}: gates are closed, and nothing was taken over; what changed the readout has learnt"
        )
    rows = sorted(both, key=lambda name: (name == BONA_FIDE, -sum(_of(after[name], added).values())))
    return Handovers(
        older.number,
        newer.number,
        added,
        removed,
        [
            Handover(
                name,
                _of(after[name], added),
                {
                    expert: before[name].get(expert, 0.0) - after[name].get(expert, 0.0)
                    for expert in older.names
                },
                **errors.get(name, {}),
            )
            for name in rows
        ],
        remarks=remarks,
    )


def _of(shares: Mapping[str, float], experts: Sequence[str]) -> dict[str, float]:
    return {name: shares.get(name, 0.0) for name in experts}


def _usage_of(record: GenerationRecord) -> dict[str, dict[str, float]]:
    """The shares that a record keeps, in its present form or the older one; empty where there are none."""
    kept = record.profile.get("usage", record.profile)
    rows = {} if not isinstance(kept, Mapping) else kept
    return {
        name: dict(row)
        for name, row in rows.items()
        if isinstance(row, Mapping) and all(isinstance(share, int | float) for share in row.values())
    }
