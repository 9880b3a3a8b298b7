from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from molex_adapt.api.outcome import data_record
from molex_adapt.data import Table, Utterance
from molex_adapt.recipe import Recipe


def test_the_record_of_the_data_counts_its_conditions():
    rows = (
        Utterance(Path("a.wav"), "bonafide", source="a", split="train", condition="gsm"),
        Utterance(Path("b.wav"), "spoof", "world", source="a", split="train", condition="gsm"),
        Utterance(Path("c.wav"), "spoof", "world", source="c", split="test"),
    )
    record = data_record(SimpleNamespace(table=Table(rows, "root")), Recipe())
    assert record.conditions == {"gsm": {"bonafide": 1, "spoof": 1}}
    assert (record.attacks, record.counts["test"]["spoof"]) == (["world"], 1)
