"""Scores of a manifest by many workers."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from molex_adapt.api import Registry
from molex_adapt.api.scoring import ScoreSource, active_source, score
from molex_adapt.cluster.parts import SCORES, PartsFolder
from molex_adapt.cluster.pool import Cluster, answers, pieces_of, this_worker
from molex_adapt.cluster.reach import named, read_for_workers, within_reach
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Failed, Table, Utterance
from molex_adapt.decision import EVEN_PRIOR, MOST_ERROR, DecisionRule
from molex_adapt.errors import RegistryError
from molex_adapt.reports import ClusterScores, ScoreReport, WorkerShare
from molex_adapt.run import Run
from molex_adapt.scorefile import line_name

_MOST_BEGUN = 5
"""How often a piece is begun: one that kills its worker must not do so for ever."""
_DEADLY = (
    f"{_MOST_BEGUN} workers died over it or over others of its piece, perhaps for want of memory; the same command "
    "tries it again, in smaller pieces"
)


@dataclass(frozen=True)
class ScoreTask:
    """What a worker has to know; it is sent there."""

    registry: Path
    out: PartsFolder
    detector: str
    rule: DecisionRule
    root: str | None
    run: Run


class Scorer:
    """A worker that scores, with a detector that it puts together once."""

    def __init__(self, task: ScoreTask) -> None:
        self._task = task
        self._source = _held(task)

    def __call__(self, piece: dict[str, Any]) -> dict[str, Any]:
        """Score the recordings of a piece, and write their part."""
        started = time.monotonic()
        paths = [os.fsdecode(path) for path in piece["paths"]]
        if self._task.out.begin(paths) < _MOST_BEGUN:
            report = self._score(paths)
        else:
            report = ScoreReport((), tuple(Failed(path, _DEADLY) for path in paths))
        self._task.out.write(report)
        return {
            "worker": this_worker(),
            "recordings": len(report.scores) + len(report.failed),
            "audio_seconds": sum(item.seconds for item in report.scores),
            "busy_seconds": time.monotonic() - started,
        }

    def _score(self, paths: Sequence[str]) -> ScoreReport:
        task = self._task
        with within_reach(paths, task.root) as (there, lost):
            table = Table(tuple(Utterance(path, BONA_FIDE, source=str(path)) for path in there.values()), "")
            report = score(self._source, table, task.rule, None, task.run)
        own = {str(copy): path for path, copy in there.items()}
        scores = tuple(replace(item, path=own[item.path]) for item in report.scores)
        return replace(report, scores=scores, failed=(*(named(item, there) for item in report.failed), *lost))


def score_manifest(
    registry: Path,
    manifest: Path,
    out: Path,
    cluster: Cluster = Cluster(),
    *,
    audio_root: str | None = None,
    prior: float = EVEN_PRIOR,
    error: float | None = MOST_ERROR,
    run: Run = Run(),
) -> ClusterScores:
    """Score the recordings of a manifest, and write a row for each; those that the folder has a score of are not again.

    Args:
        registry: a folder that every worker can read.
        manifest: as `read_manifest` takes it; labels are not used.
        out: a folder that every worker can write.
        cluster: where, and by how many.
        audio_root: folder or address at which relative paths begin; None for the manifest's folder.
        prior, error: as for `Registry.score`.
        run: device, precision, listener.

    Raises:
        DataError: the manifest, the folder, or what lies in it cannot be used.
        RegistryError: no generation, or another one became active meanwhile.
        MolexError: as `pool.answers`.
    """
    started = time.monotonic()
    opened = Registry.open(registry)
    source = active_source(opened.store, opened.detector, run)
    rule = DecisionRule(source.threshold, prior, error)
    table = read_for_workers(manifest, audio_root)
    folder = PartsFolder.open(out.absolute(), source.detector, rule, [registry, manifest])
    scored = folder.scored()
    paths = [str(item.path) for item in table]
    left = [path for path in paths if line_name(path) not in scored]
    if len(left) < len(paths):
        run.progress.note(f"{len(paths) - len(left)} of {len(paths)} recordings are scored already.")
    task = ScoreTask(
        registry.absolute(), folder, source.detector, rule, audio_root, cluster.run_of_worker(run)
    )
    shares: dict[str, WorkerShare] = {}
    if left:
        run.progress.start("score", len(left))
        for answer in answers(Scorer, task, pieces_of(left, cluster), cluster, run):
            name = answer.pop("worker")
            shares[name] = shares.get(name, WorkerShare()) + WorkerShare(**answer)
            run.progress.advance(answer["recordings"])
        run.progress.stop()
    failed = folder.merge([line_name(path) for path in paths])
    return ClusterScores(
        file=str(out / SCORES),
        recordings=len(paths),
        taken_over=len(paths) - len(left),
        failed=failed,
        workers=dict(sorted(shares.items())),
        generation=source.generation,
        threshold=source.threshold,
        seconds=time.monotonic() - started,
    )


def _held(task: ScoreTask) -> ScoreSource:
    """The detector, kept from piece to piece.

    Raises:
        RegistryError: it is not the one that the work began with.
    """
    opened = Registry.open(task.registry)
    detector = opened.detector(run=task.run)
    source = active_source(opened.store, lambda *_, **__: detector, task.run)
    if source.detector != task.detector:
        raise RegistryError(
            f"{task.registry} has another active generation, or this worker another version of molex-adapt, than the "
            "work began with. Expected the same on every machine. Roll it back, or score again with another --out"
        )
    return source
