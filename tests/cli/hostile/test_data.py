"""Hostile and broken data.

Each must end with status 1 or 2 and one message that names what is wrong and says what to do, without a traceback and
with the registry as it was, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SAME = np.sin(np.arange(12_000) / 9).astype(np.float32) / 2


CASES: dict[str, tuple[Callable[[Any], list[Any]], int, str, str]] = {
    "no data": (lambda w: w.add("nowhere"), 1, "nowhere does not exist", "Check the path"),
    "data is a recording": (
        lambda w: w.add(next((w.hum / "bonafide").iterdir())),
        1,
        "is one recording",
        "molex-adapt score",
    ),
    "data is text": (
        lambda w: w.add(w.text("notes.txt", "hello")),
        1,
        "notes.txt is neither",
        "name a folder",
    ),
    "empty folder": (lambda w: w.add(w.at), 1, "place holds no data set", "Move the recordings"),
    "one class": (lambda w: w.add(w.data()), 1, "data.*no spoof|no spoof.*data", "Add spoof recordings"),
    "label typo": (lambda w: w.add(w.manifest("m.csv", "spof")), 1, "m.csv.*5.*spof", "spoof"),
    "split typo": (lambda w: w.add(w.manifest("m.csv", split="trian")), 1, "m.csv.*5.*trian", "train"),
    "no label column": (lambda w: w.add(w.text("m.csv", "path,attack\na.wav,x\n")), 1, "m.csv", "label"),
    "broken jsonl": (lambda w: w.add(w.text("m.jsonl", '{"path": 1\n')), 1, "m.jsonl", "line 1|row 1"),
    "broken parquet": (
        lambda w: w.add(w.text("m.parquet", "PAR1")),
        1,
        "m.parquet",
        "[Ww]rite|[Ee]xport|[Cc]heck",
    ),
    "unreadable audio": (
        lambda w: w.add(w.data(spoof=lambda at: b"RIFF" * at)),
        1,
        r"fake0.wav: ",
        "Export these",
    ),
    "NaN audio": (
        lambda w: w.add(w.data(spoof=lambda at: np.full(12_000, np.nan, np.float32))),
        1,
        r"fake0.wav: .*(NaN|finite)",
        "Export these",
    ),
    "too short": (
        lambda w: w.add(w.data(spoof=lambda at: w.sound(90 + at, 0.1))),
        1,
        "fake0.wav: too short",
        "Export these",
    ),
    "silent": (
        lambda w: w.add(w.data(spoof=lambda at: np.zeros(12_000))),
        1,
        "fake0.wav: digital silence",
        "add others",
    ),
    "same audio in both classes": (
        lambda w: w.add(w.data(spoof=lambda at: w.sound(at + 1))),
        1,
        r"real0.wav.*\n?.*fake0.wav",
        "Remove the wrong",
    ),
    "all the same audio": (lambda w: w.add(w.data(spoof=lambda at: SAME)), 1, "1 spoof", "Add spoof"),
    "too few": (
        lambda w: w.add(w.data(count=2, spoof=lambda at: w.sound(90 + at))),
        1,
        "data has 2",
        "Add ",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_explained_and_changes_nothing(world, refuses, name):
    build, status, named, remedy = CASES[name]
    refuses(build(world), status, named, remedy)
