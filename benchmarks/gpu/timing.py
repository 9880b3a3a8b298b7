"""Candidates in turns, timed by the device's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from benchmarks.gpu.setting import Findings, Setting, told
from molex_adapt.conventions import Seconds

FEWEST = 3
"""Turns that are taken even where time is short."""


@dataclass(frozen=True)
class Candidate:
    """Something to time.

    Attributes:
        work: one pass.
        around: entered before and left after each pass, outside of what is timed.
        over: the candidate that it is compared with, turn by turn; None for none.
    """

    work: Callable[[], object]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    over: str | None = None


@dataclass
class Taken:
    """Seconds of each turn: `device` from the first kernel to the end of the last, `host` until all were told."""

    device: list[Seconds] = field(default_factory=list)
    host: list[Seconds] = field(default_factory=list)
    peak_mib: float | None = None


def in_turns(
    setting: Setting, found: Findings, candidates: Mapping[str, Candidate]
) -> dict[str, dict[str, Any]]:
    """Per candidate: milliseconds (medians), ratio to what it is compared with, peak memory; or its error."""
    taken: dict[str, Taken] = {name: Taken() for name in candidates}
    failed: dict[str, str] = {}
    for turn in range(setting.warm + setting.rounds):
        if turn >= setting.warm + FEWEST and setting.left() < 10:
            found.say(f"time is short: {turn - setting.warm} rounds in place of {setting.rounds}")
            break
        for name, candidate in candidates.items():
            if name in failed:
                continue
            try:
                _take(
                    setting,
                    candidate,
                    taken[name],
                    counted=turn >= setting.warm,
                    watched=turn == setting.warm - 1,
                )
            except Exception as error:  # noqa: BLE001
                failed[name] = told(error)
                found.say(f"{name} FAILED: {failed[name][:300]}")
    rows = {}
    for name, candidate in candidates.items():
        if name in failed:
            rows[name] = {"error": failed[name]}
        else:
            rows[name] = _row(
                taken[name], None if candidate.over in failed else taken.get(candidate.over or "")
            )
    return rows


def _take(setting: Setting, candidate: Candidate, taken: Taken, counted: bool, watched: bool) -> None:
    with candidate.around():
        if watched:
            setting.tidy()
        device, host = timed(setting, candidate.work)
        if watched:
            taken.peak_mib = setting.peak_mib()
        if counted:
            taken.device.append(device)
            taken.host.append(host)


def timed(setting: Setting, work: Callable[[], object]) -> tuple[Seconds, Seconds]:
    """Seconds on the device, and until the host had told it everything."""
    setting.wait()
    started = time.perf_counter()
    if setting.device.type != "cuda":
        work()
        taken = time.perf_counter() - started
        return taken, taken
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    host = time.perf_counter() - started
    last.synchronize()
    return first.elapsed_time(last) / 1e3, host


def _row(taken: Taken, other: Taken | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ms": 1e3 * median(taken.device),
        "fastest_ms": 1e3 * min(taken.device),
        "host_ms": 1e3 * median(taken.host),
        "rounds": len(taken.device),
        "peak_mib": taken.peak_mib,
    }
    if other is not None:
        pairs = zip(taken.device, other.device, strict=True)
        row["ratio"] = median(own / theirs for own, theirs in pairs)
    return row
