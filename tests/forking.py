"""Work in a fork of this process: a process of its own, without importing torch once more."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path


def molex(*arguments: object) -> Callable[[], object]:
    """`molex-adapt ARGUMENTS`, to be called in a fork."""
    from molex_adapt.cli.app import main

    return lambda: main([str(argument) for argument in arguments])


def forked(
    work: Callable[[], object], folder: Path, environment: Mapping[str, str], seconds: float = 600
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `work` under that environment alone; killed after so many seconds.

    `folder` takes the output; a signal is a negative status.
    """
    places = [folder / name for name in ("stdout", "stderr")]
    child = os.fork()
    if not child:
        status = 70
        try:
            for number, place in enumerate(places, start=1):
                os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
            alone = dict(environment)  # which may be our own
            os.environ.clear()
            os.environ.update(alone)
            work()
            status = 0
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1 if left.code else 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    until = time.monotonic() + seconds
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    ended = done[1]
    out, err = (place.read_text(encoding="utf-8") for place in places)
    return os.waitstatus_to_exitcode(ended), out, err
