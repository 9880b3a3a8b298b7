from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from molex_adapt.data import read
from molex_adapt.data.table import Table, Utterance, utterances_of, with_columns
from molex_adapt.errors import DataError


def _table() -> Table:
    rows = (
        Utterance(Path("a.wav"), "bonafide", source="a", split="train"),
        Utterance(Path("b.wav"), "spoof", "world", source="a", split="train"),
        Utterance(Path("c.wav"), "spoof", "opus", source="c", split="test"),
    )
    return Table(rows, "root")


def test_utterances_by_the_column_are_those_made_one_by_one():
    names = [f"{at}.wav" for at in range(5000)]
    paths = [Path(name) for name in names]
    found = utterances_of(5000, path=paths, source=names, label=repeat("spoof"), split=repeat("dev"))
    assert found == [Utterance(path, "spoof", source=path.name, split="dev") for path in paths]
    again = with_columns(found, split=repeat(None), domain=names)
    assert again == [replace(item, split=None, domain=item.source) for item in found]
    assert {item.split for item in found} == {"dev"}


def test_it_is_a_sequence_with_counts():
    table = _table()
    assert (
        len(table) == 3 and table[1].attack == "world" and [item.source for item in table] == ["a", "a", "c"]
    )
    assert table.attacks == ["opus", "world"]
    assert table.counts() == {"bonafide": 1, "spoof": 2}


def test_select_takes_every_condition_together():
    table = _table()
    assert len(table.select(label="spoof")) == 2
    assert [item.path.name for item in table.select(label="spoof", split="test")] == ["c.wav"]
    assert len(table.select(label="bonafide", attack="world")) == 0
    assert table.select(split="train").root == "root"


def test_a_missing_class_is_named():
    _table().require_both_classes("the table")
    with pytest.raises(
        DataError, match=r"^the dev split has no spoof utterances \(it has 1 bonafide, 0 spoof\)"
    ):
        _table().select(label="bonafide").require_both_classes("the dev split")
    with pytest.raises(DataError, match="no bonafide and no spoof"):
        _table().select(split="dev").require_both_classes("the dev split")


def test_the_digest_follows_content_and_not_place_or_order(tree, tmp_path):
    table = read(tree)
    digest = table.digest()
    assert len(digest) == 64 and table.with_utterances(tuple(reversed(table.utterances))).digest() == digest
    shutil.copytree(tree, tmp_path / "moved")
    assert read(tmp_path / "moved").digest() == digest
    for change in ({"label": "spoof"}, {"attack": "x"}, {"source": "x"}, {"speaker": "x"}, {"split": "dev"}):
        changed = (replace(table[0], **change), *table.utterances[1:])
        assert table.with_utterances(changed).digest() != digest
    table[0].path.write_bytes(table[0].path.read_bytes() + b"\0")
    assert read(tree).digest() != digest


def test_the_digest_of_missing_files_is_no_error():
    assert _table().digest() != _table().select(split="train").digest()


def test_conditions_are_counted_for_each_class():
    real, first, second = _table()
    rows = (
        replace(real, condition="gsm"),
        replace(real, condition="none"),
        replace(first, condition="gsm"),
        second,
    )
    assert Table(rows, "x").conditions() == {
        "gsm": {"bonafide": 1, "spoof": 1},
        "none": {"bonafide": 1, "spoof": 0},
    }
