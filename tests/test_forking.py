from __future__ import annotations

import os
import signal
import sys
import time

from tests.forking import forked


def test_a_fork_tells_its_status_its_output_and_what_went_wrong(tmp_path):
    assert forked(lambda: print(os.environ["X"]), tmp_path, {"X": "a"}) == (0, "a\n", "")  # noqa: T201
    assert forked(lambda: sys.exit(3), tmp_path, os.environ) == (3, "", "")
    assert forked(lambda: os.environ["PATH"], tmp_path, os.environ)[0] == 0
    status, _, err = forked(lambda: 1 // 0, tmp_path, {})
    assert status == 70 and "ZeroDivisionError" in err


def test_a_fork_that_hangs_is_killed(tmp_path):
    assert forked(lambda: time.sleep(60), tmp_path, {}, seconds=0.2)[0] == -signal.SIGKILL
