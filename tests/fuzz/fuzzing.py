"""Fuzz one reader in this process, which should be a fork: limits stay.

Memory is limited to what the process had and half a GiB more; an input that takes five seconds of the processor, or
five minutes of the clock, ends the run. The input at work lies in FOLDER, should the process die of it.
"""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from molex_adapt.errors import MolexError
from tests.fuzz.readers import READERS

MORE_MEMORY = 512 * 2**20
CPU_SECONDS, CLOCK_SECONDS = 5.0, 300.0
MOST_SAID = 20_000


class Hang(BaseException):
    """An input took too long."""


def fuzz(name: str, count: int, number: int, folder: Path) -> dict[str, Any]:
    """Feed `count` inputs to a reader.

    Raises:
        BaseException: whatever the reader raised besides our errors.
    """
    reader = READERS[name](folder)
    counts = {"reader": name, "inputs": 0, "accepted": 0, "refused": 0, "slowest": 0.0}
    _limit()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def feed(data: st.DataObject) -> None:
        given_input = data.draw(reader.inputs)
        counts["inputs"] += 1
        reader.place(given_input)
        started, said = time.process_time(), 0
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)
        try:
            reader.read(given_input)
            counts["accepted"] += 1
        except MolexError as error:
            counts["refused"] += 1
            said = len(str(error))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert said < MOST_SAID, "a message longer than anybody reads"
        counts["slowest"] = max(counts["slowest"], round(time.process_time() - started, 3))

    feed()
    counts["memory_mib"] = _peak_mib()
    return counts


def _peak_mib() -> int:
    # The resource usage of a process begins with that of the one it was forked from; this does not.
    (peak,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(peak.split()[1]) // 1024


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for timer in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(timer, _hang)


def _hang(*_: object) -> None:
    raise Hang
