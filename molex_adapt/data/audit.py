"""The audit: every recording is decoded once, and those that are of no use are left out with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, NULL_DOMAIN, SAMPLE_RATE, SPOOF, Seconds
from molex_adapt.data.alike import require_alike
from molex_adapt.data.audio import stream
from molex_adapt.data.channels import Channels
from molex_adapt.data.remarks import CLIPPED_SHARE, on_table
from molex_adapt.data.table import AUDIO_DIGITS, Failed, Table, Utterance
from molex_adapt.digest import Digest
from molex_adapt.errors import AudioError, DataError
from molex_adapt.processes import gathered, own_part
from molex_adapt.run import Run
from molex_adapt.workers import process_pool

_BATCH = 16
_FEWEST_FOR_WORKERS = 4 * _BATCH  # starting processes takes longer than decoding fewer files


@dataclass(frozen=True, slots=True)
class Audit:
    """A table of usable recordings with `seconds` and `audio`, what was left out, and what else was noticed."""

    table: Table
    failed: tuple[Failed, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Finding:
    seconds: Seconds = 0.0
    digest: str = ""
    clipped: bool = False
    reason: str | None = None
    broken: bool = False

    @property
    def audio(self) -> str:
        """See `Utterance`."""
        return self.digest[:AUDIO_DIGITS]


def audit(table: Table, run: Run = Run(), *, min_seconds: Seconds = 0.5) -> Audit:
    """Decode every file of `table` and keep the usable ones.

    Left out, each with its reason: missing, unreadable or damaged files, NaN or infinite samples, less than
    `min_seconds`, what `Channels.fault` names (digital and other silence, a dead channel, channels in anti-phase), and
    audio whose decoded samples equal those of an earlier recording of the same class. The table may have lost a class
    afterwards: ask `Table.require_both_classes`.

    Args:
        table: as `read` returns it.
        run: its workers are processes that decode; each is started anew, none inherits state. A file that kills its
            process is left out like any other. Its listener hears of every file.
        min_seconds: the shortest recording to keep.

    Returns:
        The usable utterances in their order with `seconds` and `audio` set, the others, and remarks such as clipping.

    Raises:
        DataError: the same audio stands under both labels (the null control excepted, whose classes are
            meant to be alike); both files are named. Or another process has other recordings.

    Source: own.
    """
    require_alike(table)
    run.progress.start(f"Checking {len(table)} recordings", len(table))
    try:
        findings = _examined(table, min_seconds, run)
    finally:
        run.progress.stop()
    ordered = [findings[index] for index in range(len(table))]
    return _conclude(table, _without_repeats(table, ordered))


def _conclude(table: Table, findings: list[_Finding]) -> Audit:
    pairs = list(zip(table, findings, strict=True))
    good = tuple(
        replace(item, seconds=found.seconds, audio=found.audio)
        for item, found in pairs
        if found.reason is None
    )
    failed = tuple(
        Failed(str(item.path), found.reason, by_rule=not found.broken)
        for item, found in pairs
        if found.reason is not None
    )
    kept = table.with_utterances(good)
    clipped: list[str] = [item.label for item, found in pairs if found.reason is None and found.clipped]
    remarks = on_table(table)
    if not clipped:
        return Audit(kept, failed, tuple(remarks))
    shares = ", ".join(f"{clipped.count(label)} of {count} {label}" for label, count in kept.counts().items())
    remark = f"clipped ({CLIPPED_SHARE:.1%} of the samples or more at full scale): {shares}"
    return Audit(kept, failed, (remark, *remarks))


def _without_repeats(table: Table, findings: list[_Finding]) -> list[_Finding]:
    """Findings in which a repeated recording has a reason. The same audio in both classes is an error."""
    first: dict[tuple[str, bool], Utterance] = {}
    checked = []
    for item, found in zip(table, findings, strict=True):
        if found.reason is None:
            # The null control is bona fide speech with the label spoof, so it is compared with itself only.
            null = item.attack == NULL_DOMAIN
            before = first.setdefault((found.digest, null), item)
            if before.label != item.label:
                raise DataError(_both_labels(before, item))
            if before is not item:
                found = replace(found, reason=f"the same audio as {before.path}, which is kept")
        checked.append(found)
    return checked


def _both_labels(one: Utterance, other: Utterance) -> str:
    bona_fide, spoof = (one, other) if one.label == BONA_FIDE else (other, one)
    return (
        f"The same audio stands under both labels: {bona_fide.path} as {BONA_FIDE} and {spoof.path} as {SPOOF}. A "
        "recording is one or the other. Remove the wrong one, or correct its label."
    )


def _examined(table: Table, min_seconds: Seconds, run: Run) -> dict[int, _Finding]:
    """Findings by index; of several processes each examines a part."""
    mine = own_part([1.0] * len(table))
    found = dict(_examine_all([table[at].path for at in mine], min_seconds, run))
    return {
        index: one
        for part in gathered({mine[at]: one for at, one in found.items()})
        for index, one in part.items()
    }


def _examine_all(paths: list[Path], min_seconds: Seconds, run: Run) -> Iterator[tuple[int, _Finding]]:
    """Findings by index, in any order."""
    # Three ways, each for what the one before could not do: parallel processes, one process a file after a crash, and
    # this process where no other can start.
    left = dict(enumerate(paths))
    if run.workers > 1 and len(paths) >= _FEWEST_FOR_WORKERS:
        for index, found in _in_processes(paths, min_seconds, run.workers):
            del left[index]
            run.progress.advance()
            yield index, found
        if left and _processes_start():
            run.progress.note("A worker process died; the remaining files are checked one at a time.")
            for index, found in _one_at_a_time(left, min_seconds):
                run.progress.advance()
                yield index, found
            return
    for index, path in left.items():
        yield index, _examine(path, min_seconds)
        run.progress.advance()


def _in_processes(paths: list[Path], min_seconds: Seconds, workers: int) -> Iterator[tuple[int, _Finding]]:
    """Findings of parallel processes. Where a process died, those of the unfinished batches are missing."""
    pool = process_pool(workers)
    try:
        starts = range(0, len(paths), _BATCH)
        jobs = {pool.submit(_examine_batch, paths[at : at + _BATCH], min_seconds): at for at in starts}
        for job in as_completed(jobs):
            try:
                yield from enumerate(job.result(), jobs[job])
            except BrokenProcessPool:
                continue
    except BrokenProcessPool:  # it died while jobs were handed in
        return
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one_at_a_time(paths: dict[int, Path], min_seconds: Seconds) -> Iterator[tuple[int, _Finding]]:
    """Findings of a single process. Where a file kills it, another process goes on with the next file."""
    pool = process_pool(1)
    try:
        for index, path in paths.items():
            try:
                yield index, pool.submit(_examine, path, min_seconds).result()
            except BrokenProcessPool:
                killed = _Finding(reason="decoding it kills the process: the file is damaged", broken=True)
                yield index, killed
                pool.shutdown(wait=False)
                pool = process_pool(1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _processes_start() -> bool:
    """Whether a new process can start. It cannot where a script without a main guard calls this package."""
    with process_pool(1) as pool:
        try:
            return pool.submit(os.getpid).result() > 0
        except BrokenProcessPool:
            return False


def _examine_batch(paths: list[Path], min_seconds: Seconds) -> list[_Finding]:
    return [_examine(path, min_seconds) for path in paths]


def _examine(path: Path, min_seconds: Seconds) -> _Finding:
    """Examine one file block by block, so that memory does not grow with its length."""
    digest = Digest()
    channels = Channels()
    samples = 0
    try:
        for block in stream(path, channels=channels):
            samples += len(block)
            digest.add(block)
    except AudioError as error:
        return _Finding(reason=str(error).removeprefix(f"{path}").lstrip(": "), broken=True)
    seconds = samples / SAMPLE_RATE
    reason = channels.fault()
    if seconds < min_seconds:
        reason = f"too short: {seconds:.2f} s, at least {min_seconds:g} s are needed"
    return _Finding(seconds, str(digest), channels.clipped >= CLIPPED_SHARE, reason)
