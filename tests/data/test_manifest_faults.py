"""Manifests that are wrong: what is said, and that nothing is lost."""

from __future__ import annotations

import json
import os
import sys

import pytest

from molex_adapt.data import read, read_manifest, write_manifest
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.wav,bonafied\n", r"m\.csv, row 2: label 'bonafied' .* did you mean 'bonafide'\?"),
        ("path,label\na.wav,1\n", "row 2: label '1' .* write the word"),
        ("path,label\na.wav,\n", "row 2: the label is empty"),
        ("path,label\n,real\n", "row 2: the path is ''"),
        ("path,verdict\na.wav,real\n", r"no column label; its columns are path, verdict.*label \(or class"),
        ("a.wav,real\nb.wav,fake\n", "no column path and no column label"),
        ("path,label\na.wav\n", "line 2: 1 fields, but the header has 2"),
        ("path,label\na.wav,real\nb.wav,fake,x,y\n", "line 3: 4 fields, but the header has 2"),
        ("path,label\n", "names no recordings"),
        ("", "no column path"),
        ("path,label\na.wav,real\n./a.wav,fake\n", "row 3: .*a.wav is already in row 2"),
        ("path,label,split\na.wav,real,tset\n", "row 2: split 'tset' .* did you mean 'test'"),
        ("path,label,attack\na.wav,real,world\n", "row 2: a bonafide recording with the attack 'world'"),
        ("path,label,attack\na.wav,fake,bonafide\n", "row 2: a spoof whose attack is 'bonafide'"),
        ("path,label,seconds\na.wav,real,inf\n", "row 2: its length in seconds is 'inf'"),
        ("path,label\nhttps://x.org/a.wav,real\n", "row 2: https://x.org/a.wav is an address"),
        ("path,label\nx/a.wav,real\ny/b.wav,fake\n", "none of its first 2 recordings exists"),
        ('path,label\n"a.wav,real\n' + "x" * 200_000, "line 3: field larger than field limit"),
        (b"path,label\na.wav,real\n\xe9.wav,fake\n", "line 3: byte 0xe9 is not UTF-8 text"),
    ],
)
def test_faults_are_named_with_their_place(manifest, text, message):
    with pytest.raises(DataError, match=message):
        read(manifest(text))


def test_several_faults_come_together(manifest):
    rows = "".join(f"{index}.wav,wrong\n" for index in range(7))
    with pytest.raises(DataError) as caught:
        read(manifest("path,label\n" + rows))
    assert all(f"row {line}: " in str(caught.value) for line in range(2, 7))
    assert "row 7" not in str(caught.value) and "and 2 more" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "b.wav", "label": ', r"m\.jsonl, line 3: not JSON"),
        ("[1, 2]", "line 3: a list, not an object"),
        ('{"path": 7, "label": "real"}', "row 3: the path is 7"),
        ('{"path": "b.wav", "label": true}', "row 3: label 'True'"),
        ('{"path": "b.wav"}', "row 3: the label is empty"),
        ('{"path": "b\\u0000.wav", "label": "real"}', "row 3: the path .* holds a zero byte"),
        ("[" * 100_000, "line 3: not JSON"),
    ],
)
def test_faults_of_json_lines(manifest, line, message):
    text = json.dumps({"path": "a.wav", "label": "real"}) + "\n\n" + line + "\n"
    with pytest.raises(DataError, match=message):
        read(manifest(text, "m.jsonl"))


def test_faults_of_parquet(manifest, monkeypatch):
    with pytest.raises(DataError, match="not a whole Parquet file"):
        read(manifest(b"PAR1 not really PAR1", "m.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="pip install pyarrow"):
        read(manifest(b"PAR1", "m.parquet"))


def test_parquet_with_embedded_audio_says_what_is_missing(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"audio": [{"path": "a.wav", "bytes": b"x"}], "label": ["real"]})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(DataError, match="no column path; its columns are label"):
        read(tmp_path / "m.parquet")


def test_unknown_formats_and_places_that_cannot_be_written(tmp_path, tree):
    table = read(tree)
    with pytest.raises(DataError, match="'.xlsx' is no manifest format"):
        write_manifest(table, tmp_path / "m.xlsx")
    with pytest.raises(DataError, match="'.xlsx' is no manifest format"):
        read_manifest(tmp_path / "m.xlsx")
    with pytest.raises(DataError, match="cannot be written"):
        write_manifest(table, tmp_path / "absent/m.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path / "absent.csv")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(old := "path,label\na.wav,spoof\n")
    bad = Utterance(tmp_path / os.fsdecode(b"\xff.wav"), "spoof", "x", "s")
    with pytest.raises(DataError, match="Rename that recording"):
        write_manifest(Table((bad,), "t"), path)
    assert path.read_text() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "m.csv",
            "path,label,label\na.wav,real,fake\n",
            "column 'label' 2 times; nothing tells which .* says the label",
        ),
        ("m.csv", "path,path,label\na.wav,b.wav,real\n", "column 'path' 2 times"),
        (
            "m.jsonl",
            '{"path": "a.wav", "label": "real", "label": "fake"}\n',
            "line 1: not JSON .'label' is given twice",
        ),
        ("m.jsonl", '{"path": "\\ud800.wav", "label": "real"}\n', "the path .* is no valid text"),
        (
            "m.jsonl",
            '{"path": "a.wav", "label": "real", "speaker": "\\ud800"}\n',
            "the speaker .* is no valid text",
        ),
        (
            "m.jsonl",
            '{"path": "a.wav", "label": "real", "seconds": 1%s}\n' % ("0" * 400),
            "length in seconds is 1000",
        ),
        ("m.jsonl", '{"path": "a.wav", "label": "%s"}\n' % ("x" * 50_000), "label 'x*\\.\\.\\.' is none of"),
        ("m.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("m.csv", "path,label\n" + "\0,real\n", "zero byte|the path is ''"),
    ],
)
def test_hostile_rows_are_refused_in_few_words(tmp_path, name, text, message):
    (tmp_path / "a.wav").touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(tmp_path / name)
    assert len(str(caught.value)) < 3000
