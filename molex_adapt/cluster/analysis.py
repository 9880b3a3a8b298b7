"""An analysis of a manifest by many workers: sums of parts, which are those of one pass to the bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from molex_adapt.analysis import Corpus, Observed, conclude, observe_table
from molex_adapt.api import Registry
from molex_adapt.cluster.pool import Cluster, answers
from molex_adapt.cluster.reach import is_address, read_for_workers
from molex_adapt.data import Failed, Table
from molex_adapt.data.remarks import on_length, on_table
from molex_adapt.errors import DataError
from molex_adapt.reports import Analysis
from molex_adapt.run import Run

_PARTS_EACH = 4
"""Parts for a worker: what is done again when it dies is one; what travels grows with their number."""


@dataclass(frozen=True)
class AnalysisTask:
    """What a worker has to know; it is sent there."""

    registry: Path
    generation: int
    table: Table
    parts: int
    ablate: bool
    run: Run


class Observer:
    """A worker that observes parts of a table, with a detector that it puts together once."""

    def __init__(self, task: AnalysisTask) -> None:
        self._task = task
        self._detector = Registry.open(task.registry).detector(task.generation, run=task.run)

    def __call__(self, piece: dict[str, Any]) -> tuple[int, Observed, tuple[Failed, ...]]:
        """The number of the part, what was seen of it, and what failed."""
        task, number = self._task, int(piece["part"])
        part = (number, task.parts)
        return (
            number,
            *observe_table(self._detector, task.table, task.run, ablate=task.ablate, part=part),
        )


def analyse_manifest(
    registry: Path,
    manifest: Path,
    cluster: Cluster = Cluster(),
    *,
    audio_root: str | None = None,
    ablate: bool = False,
    run: Run = Run(),
) -> Analysis:
    """Which experts act for which attack, as `Registry.analyze` says it of the same recordings.

    Args:
        registry: a folder that every worker can read, as the recordings must be.
        manifest: as `read_manifest` takes it.
        cluster: where, and by how many.
        audio_root: folder at which relative paths begin; None for the manifest's folder.
        ablate: switch every expert off as well, on a sample.
        run: device, precision, seed, listener.

    Raises:
        DataError: the manifest cannot be used, or none of its recordings.
        ExpertError: there is no expert.
        MolexError: as `pool.answers`.
    """
    record = Registry.open(registry).store.generation()
    if is_address(audio_root):
        raise DataError(
            f"an analysis cannot fetch recordings from {audio_root}. Expected a folder that every worker can read. "
            "Mount the store, or copy the recordings."
        )
    table = read_for_workers(manifest, audio_root)
    parts = min(len(table), _PARTS_EACH * cluster.workers)
    task = AnalysisTask(registry.absolute(), record.number, table, parts, ablate, cluster.run_of_worker(run))
    run.progress.start("analyze", len(table))
    seen: dict[int, tuple[Observed, tuple[Failed, ...]]] = {}
    for number, observed, failed in answers(
        Observer, task, [{"part": number} for number in range(parts)], cluster, run
    ):
        seen[number] = observed, failed
        run.progress.advance(len(range(number, len(table), parts)))
    run.progress.stop()
    order = {str(item.path): at for at, item in enumerate(table)}
    lost = sorted((item for _, failed in seen.values() for item in failed), key=lambda item: order[item.path])
    observed = reduce(Observed.merge, [seen[number][0] for number in range(parts)])
    found = conclude(
        observed,
        Corpus.of_table(table),
        record.names,
        seed=run.seed,
    )
    if not found.attacks:
        raise DataError(f"none of the recordings of {manifest} can be used. Look at why: {lost[0].reason}")
    remarks = on_length(observed.longer, Registry.open(registry).recipe().data.window_seconds)
    return replace(
        found,
        failed=tuple(lost),
        remarks=[*found.remarks, *remarks, *on_table(table)],
        generation=record.number,
        threshold=record.threshold,
    )
