"""The command line under `accelerate launch` and `torchrun`: one process speaks; what does not divide runs once."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from molex_adapt.cli.errors import reported
from molex_adapt.processes import by_itself, place

_TOGETHER = frozenset(
    {"train", "add-expert", "retrain-router", "set-threshold", "score", "evaluate", "analyze"}
)
"""Commands whose work several processes divide."""
_FIRST_SPEAKS = 5.0
"""Seconds that others wait with what went wrong. In most cases the first met the same and says it, and the launcher
ends the others before their time."""


@contextmanager
def as_one_of_several(command: str) -> Iterator[None]:
    """Run a command as all processes together; or as the first of them, while the others end at once.

    Raises:
        SystemExit: with status 0, in a process that there is nothing to do for.
    """
    with reported():
        rank, count = place()
    if count == 1:
        yield
    elif command in _TOGETHER:
        with _listening_to_the_first(rank):
            yield
    elif rank:
        raise SystemExit(0)
    else:
        with by_itself():
            yield


@contextmanager
def _listening_to_the_first(rank: int) -> Iterator[None]:
    """Let only the first process speak. What another says counts where it fails, and is told a while later."""
    if not rank:
        yield
        return
    said = io.StringIO()
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(said):  # noqa: PTH123
            yield
    except SystemExit as leaving:
        if leaving.code:
            time.sleep(_FIRST_SPEAKS)
            sys.stderr.write(said.getvalue())
        raise
