"""Workers of a process that is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import os, time
from molex_adapt.workers import process_pool
with process_pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_they_end_with_it():
    """It tells them nothing: SIGTERM runs no more of its code."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_there(worker)
        parent.terminate()
    until = time.monotonic() + 20
    while is_there(worker):
        assert time.monotonic() < until, "the worker waits for work that nobody can give"
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    """Whether it runs: in a container nobody may take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
