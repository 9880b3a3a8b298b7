"""Make an attack domain: every bona fide recording, forged and not, in the same conditions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from molex_adapt.conventions import BONA_FIDE, SPOOF, Seconds
from molex_adapt.data.manifest import write_manifest
from molex_adapt.data.table import Failed, Table, Utterance
from molex_adapt.errors import DataError
from molex_adapt.run import Run
from molex_adapt.simulate.attack import Attack, TextToSpeech
from molex_adapt.simulate.condition import Condition, joined
from molex_adapt.simulate.job import Job, Maker, Outcome
from molex_adapt.simulate.output import LIST, claim
from molex_adapt.simulate.plan import (
    choose_limited,
    choose_speakable,
    describe_nothing,
    name_recordings,
    plan_jobs,
)
from molex_adapt.workers import process_pool

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run made."""

    manifest: Path
    made: int
    """Recordings with everything that was asked for, from this run or a former one."""
    failed: tuple[Failed, ...]
    seconds: Seconds
    """Wall-clock time."""
    skipped: tuple[Failed, ...] = ()
    """Recordings the attack was not tried on: no transcript, a language it does not speak, or left out by a rule."""


def simulate(
    attack: Attack,
    speech: Table,
    out: Path,
    *,
    conditions: Sequence[Condition] = (),
    run: Run = Run(),
    limit: int | None = None,
    bona_fide: bool = True,
    pool: ProcessPoolExecutor | None = None,
) -> Simulated:
    """Forge bona fide recordings and write both classes, a manifest and a record of how they were made.

    Args:
        attack: what to do to them.
        speech: recordings; its spoofed ones are left aside.
        out: a new or empty folder, or one that a former run with the same attack, conditions and seed made: then
            only what is missing, or older than its recording, is made.
        conditions: what both classes go through, in order, after the attack; nothing by default. Chance is drawn for
            each file, alike for both classes.
        run: its seed decides all chance, with the attack's and the recording's name, whatever the order or `workers`;
            these are processes, and 1 works in this one. Its listener hears one step a recording.
        limit: use so many recordings, chosen by the seed across the whole table; a smaller limit is a subset.
        bona_fide: write the bona fide class too; else the manifest has the spoofed one alone.
        pool: of `worker_pool`, in place of processes of its own; starting them takes a second each.

    Returns:
        Where the manifest is, and the counts. The manifest's `speaker` of a forged recording is that of its source; its
        `condition` is what the source was known to have gone through, unless it is only read out, and what was added.

    Raises:
        DataError: nothing to forge, nothing could be forged, a folder of something else, a missing package.

    Source: own.
    """
    begun = time.monotonic()
    attack.check()
    for condition in conditions:
        condition.check()
        if attack.partial and condition.moves_time:
            raise DataError(
                f"{attack.name} forges from one time to another, and the condition {condition} cuts silence, so that "
                f"these times would not hold. Leave the silence: --condition {condition.name}:trim=false"
            )
    named = name_recordings(speech)
    chosen, skipped = choose_speakable(attack, named)
    jobs = plan_jobs(choose_limited(chosen, limit, run.seed), attack, out, bona_fide)
    if not jobs:
        raise DataError(describe_nothing(attack, speech, skipped))
    made_of: dict[str, str | int] = {"speech": speech.root, "data": speech.digest(), "recordings": len(jobs)}
    folders = {row.path.parent: row.path for row in chosen.values()}  # one recording of each says enough
    inputs = [Path(speech.root), *folders.values()]
    claim(
        out,
        attack=attack,
        conditions=conditions,
        seed=run.seed,
        bona_fide=bona_fide,
        made_of=made_of,
        inputs=inputs,
    )
    maker = Maker(attack, tuple(conditions), run.seed)
    outcomes = _run(maker, list(jobs.values()), run, pool)
    failed = [Failed(str(jobs[o.name].audio), o.reason) for o in outcomes if o.reason is not None]
    if len(failed) == len(jobs):
        raise DataError(
            f"The attack {attack.name} failed on all {len(jobs)} recordings of {speech.root}; the first: "
            f"{failed[0].path}: {failed[0].reason}. Check the recordings and the attack's parameters."
        )
    done = [named[o.name] for o in outcomes if o.reason is None]
    manifest = _write(out, maker, [(jobs[o.name], named[o.name], o) for o in outcomes if o.reason is None])
    failed += [item for item in speech.left_out if not item.by_rule]
    skipped = (*skipped, *(item for item in speech.left_out if item.by_rule))
    return Simulated(manifest, len(done), tuple(failed), time.monotonic() - begun, skipped)


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that several calls of `simulate` may share; each computes with one thread."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))  # read when a child loads its linear algebra
    try:
        with process_pool(workers) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _run(maker: Maker, jobs: list[Job], run: Run, pool: ProcessPoolExecutor | None) -> list[Outcome]:
    """Outcomes in the order of the jobs."""
    outcomes: dict[str, Outcome] = {}
    run.progress.start(f"Forging by {maker.attack.name}", len(jobs))
    try:
        for outcome in _outcomes(maker, jobs, run.workers, pool):
            outcomes[outcome.name] = outcome
            run.progress.advance()
    finally:
        run.progress.stop()
    return [outcomes[job.name] for job in jobs]


def _outcomes(
    maker: Maker, jobs: list[Job], workers: int, pool: ProcessPoolExecutor | None
) -> Iterator[Outcome]:
    if pool is not None:
        yield from _from_pool(maker, jobs, pool)
    elif workers > 1 and len(jobs) > 1:
        with worker_pool(min(workers, len(jobs))) as own:
            yield from _from_pool(maker, jobs, own)
    else:
        # Threads divide a sum differently, so that its last bits, and the files, would depend on the machine.
        with threadpool_limits(1, "blas"):
            yield from map(maker, jobs)


def _from_pool(maker: Maker, jobs: list[Job], pool: ProcessPoolExecutor) -> Iterator[Outcome]:
    futures: list[Future[Outcome]] = []
    try:
        futures += [pool.submit(maker, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"A worker process died while forging by {maker.attack.name} (out of memory, or a crash in a "
            "codec's library). What it made so far is kept; run the same command again with --workers 1."
        ) from error
    finally:
        for future in futures:
            future.cancel()


def _write(out: Path, maker: Maker, done: list[tuple[Job, Utterance, Outcome]]) -> Path:
    rows = []
    for job, row, _ in done:
        heard = joined([row.condition, maker.condition_of(job, BONA_FIDE)])
        row = replace(row, source=row.source or job.name, seconds=None)
        if job.bona_fide is not None:
            rows.append(replace(row, path=job.bona_fide, condition=heard))
    for job, row, outcome in done:
        before = None if isinstance(maker.attack, TextToSpeech) else row.condition
        heard = joined([before, maker.condition_of(job, SPOOF)])
        row = replace(row, source=row.source or job.name, seconds=None)
        rows.append(
            replace(
                row,
                path=job.spoof,
                label=SPOOF,
                attack=maker.attack.name,
                condition=heard,
                forged=outcome.forged,
            )
        )
    manifest = out / LIST
    write_manifest(Table(tuple(rows), str(out)), manifest)
    return manifest
