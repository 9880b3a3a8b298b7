"""Hostile input to every reader: no exception but ours, no hang, no memory blow-up.

MOLEX_FUZZ sets how many inputs over all readers; the full run is MOLEX_FUZZ=100000. MOLEX_FUZZ_SEED draws others.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.forking import forked

from .fuzzing import fuzz
from .readers import READERS, SHARE

pytestmark = pytest.mark.fuzz

INPUTS = int(os.environ.get("MOLEX_FUZZ", "2000"))
SEED = int(os.environ.get("MOLEX_FUZZ_SEED", "0"))
WHOLE = sum(SHARE.get(name, 1.0) for name in READERS)


@pytest.mark.parametrize("reader", READERS)
def test_no_input_does_more_than_be_refused(reader, tmp_path, record_property):
    count = max(20, round(INPUTS * SHARE.get(reader, 1.0) / WHOLE))
    status, out, err = forked(
        lambda: sys.stdout.write(json.dumps(fuzz(reader, count, SEED, tmp_path))),
        tmp_path,
        os.environ,
        seconds=1800 + count,
    )
    assert status == 0, f"input left in {tmp_path}\n{err[-6000:]}"
    counts = json.loads(out)
    assert counts["inputs"] >= 0.9 * count
    assert counts["refused"] > 0, "nothing that it was given was wrong"
    assert counts["accepted"] > 0, "nothing that it was given was right"
    for name, value in counts.items():
        record_property(name, value)
