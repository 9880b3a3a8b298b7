from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from molex_adapt.base import weights_hash
from molex_adapt.data.table import Table, Utterance
from molex_adapt.digest import Digest, git_blob, sha256, sha256_of_file, sha256_of_weights
from molex_adapt.features import source_id


def test_where_parts_end_makes_no_difference():
    expected = hashlib.sha256(b"abc").hexdigest()
    assert sha256(b"abc") == sha256("ab", b"c") == str(Digest("a").add("b", "c")) == expected


def test_an_array_counts_by_its_values_in_row_order():
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256(table.T) == sha256(np.ascontiguousarray(table.T)) != sha256(table)


def test_a_file_is_the_same_as_its_content(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file", "before") == sha256("before", content)


def test_names_that_are_not_utf8_count_as_they_stand_on_disk():
    assert sha256("caf\udce9") == sha256(b"caf\xe9")
    assert sha256("\ud800") != sha256("\ud801")


# Registries on disk hold these: a change of them would make every registry "damaged" and every base "another".
WEIGHTS = "99e014b9254825fd80805de706de2c6a439d1d2910deae4b05809d672c4745de"
TABLE = "5c162c47e5f0f82f72abbbf3934fdd9a02830d383228267290e2a2ea85e11665"
SOURCE = "dafd66c0b98965e6"
GIT = "d670460b4b4aece5915caf5c68d12f560a9fe3e4"  # git hash-object of "test content\n"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_digest_of_weights_never_changes(dtype):
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.arange(6).reshape(2, 3))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    assert weights_hash(model.to(dtype)) == WEIGHTS
    named = [
        ("bias", np.array([0.5, -0.5], np.float32)),
        ("weight", np.arange(6, dtype=np.float32).reshape(2, 3)),
    ]
    assert sha256_of_weights(iter(named)) == WEIGHTS


def test_the_digest_of_a_table_and_the_name_of_a_source_never_change(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    rows = (
        Utterance(tmp_path / "a.wav", "bonafide", None, source="a", speaker="s1", split="train"),
        Utterance(tmp_path / "caf\udce9.wav", "spoof", "A07", source="caf\udce9"),
    )
    assert Table(rows, str(tmp_path)).digest() == TABLE
    assert source_id("caf\udce9") == SOURCE


def test_git_names_a_file():
    assert git_blob(b"test content\n") == GIT
