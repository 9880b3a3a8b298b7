from __future__ import annotations

import json
import math
import os
import unicodedata
from pathlib import Path

import pytest

from molex_adapt.data import audit, read, read_manifest, write_manifest
from molex_adapt.data.formats import write_rows
from molex_adapt.data.manifest import read_unlabelled
from molex_adapt.data.table import Table, Utterance
from molex_adapt.errors import DataError

FORMATS = ["csv", "tsv", "jsonl", "parquet"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read_again(tmp_path, suffix):
    base = tmp_path / "set"
    (base / "x").mkdir(parents=True)
    odd = base / 'x/comma, "quote" é.wav'
    odd.touch()
    table = Table(
        (
            Utterance(odd, "bonafide", None, "src", "s1", "train", None, 'said "so",\nthen left', 1.25),
            Utterance(tmp_path / "outside.wav", "spoof", "null", "src", None, None, "opus", None, None),
        ),
        "anywhere",
    )
    path = base / f"m.{suffix}"
    write_manifest(table, path)
    again = read(path)
    assert again.utterances == table.utterances and again.root == str(path)
    assert [item.name for item in base.iterdir() if item.name != "x"] == [path.name]


def test_a_written_manifest_can_be_moved(tmp_path, tree):
    write_manifest(read(tree), tree / "manifest.csv")
    tree.rename(tmp_path / "moved")
    table = read(tmp_path / "moved")
    assert len(table) == 9 and all(item.path.is_file() for item in table)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", b"name,mark\nann,1\n"),
        ("m.csv", b"RIFF\x24\0\0\0WAVE"),
        ("m.tsv", b"filename\tcm-score\na\t1\n"),
        ("m.jsonl", b'{"path": "a"}\n'),
        ("m.parquet", b"PAR1 and no more"),
    ],
)
def test_nothing_but_a_manifest_gives_way(tree, name, content):
    table = read(tree)
    (tree / name).write_bytes(content)
    with pytest.raises(DataError, match="is there already and is .*, not a manifest"):
        write_manifest(table, tree / name)
    assert (tree / name).read_bytes() == content


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_manifest_gives_way_to_another(tree, suffix):
    table = read(tree)
    write_manifest(table, tree / f"m.{suffix}")
    write_manifest(table.select(label="spoof"), tree / f"m.{suffix}")
    assert read(tree / f"m.{suffix}").counts()["bonafide"] == 0


def test_columns_have_the_agreed_order(tmp_path, tree):
    write_manifest(read(tree), tree / "m.csv")
    assert (tree / "m.csv").read_text().splitlines()[
        0
    ] == "path,label,attack,source,speaker,split,condition,text"


@pytest.mark.parametrize("heading", ["File,Class", "filename,key", "File Path,Target", "audio,LABEL"])
def test_synonyms_of_columns(manifest, heading):
    table = read(manifest(f"{heading},unknown\na.wav,Real,7\nb.wav,fake,8\n"))
    assert [(item.path.name, item.label, item.attack) for item in table] == [
        ("a.wav", "bonafide", None),
        ("b.wav", "spoof", "spoof"),
    ]


def test_the_plain_name_wins_over_a_synonym(manifest):
    assert read(manifest("file,path,label\nb.wav,a.wav,real\n"))[0].path.name == "a.wav"


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\r\na.wav,real\r\n\r\nb.wav,fake\r\n",
        "path,label\na.wav,real\nb.wav,fake\n".encode("utf-16"),
        b"path;label\na.wav;real\nb.wav;fake",
        b"\n\npath\tlabel\na.wav\treal\nb.wav\tfake\n",
        b'"path","label"\n"a.wav","real",\n"b.wav","fake"\n',
    ],
    ids=["byte-order mark and CRLF", "UTF-16", "semicolons", "tabs", "quotes, spare comma"],
)
def test_habits_of_spreadsheets(manifest, text):
    table = read(manifest(text))
    assert [(item.path.name, item.label) for item in table] == [("a.wav", "bonafide"), ("b.wav", "spoof")]


def test_source_and_attack_from_the_path(manifest):
    table = read(manifest("path,label\nbonafide/a.wav,bonafide\nspoof/world/a.wav,spoof\nb.wav,spoof\n"))
    assert [(item.source, item.attack) for item in table] == [("a", None), ("a", "world"), ("b", "spoof")]


def test_a_stated_source_and_attack_win(manifest):
    table = read(manifest("path,label,source,attack\nspoof/world/a.wav,spoof,rec7,null\n"))
    assert (table[0].source, table[0].attack) == ("rec7", "null")


def test_folders_above_the_manifest_are_no_classes(tmp_path):
    path = tmp_path / "ai/corpus/wavs/a.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "lists").mkdir()
    manifest = tmp_path / "lists/m.csv"
    manifest.write_text(f"path,label\n{path},spoof\n")
    assert (read(manifest)[0].source, read(manifest)[0].attack) == ("a", "spoof")


def test_equal_stems_in_two_splits_are_different_recordings(manifest):
    rows = "x/1.wav,real,train\ny/1.wav,real,test\nx/2.wav,real,train\nz/2.wav,fake,train\na.wav,real,dev\n"
    table = read(manifest("path,label,split\n" + rows))
    assert [item.source for item in table] == ["x/1", "y/1", "2", "2", "a"]


@pytest.mark.parametrize(
    ("header", "row", "condition"),
    [
        ("condition", "room", "room"),
        ("codec", "g722", "g722"),
        ("codec_q", "3", "3"),
        ("codec_q,codec", "3,C05", "C05"),
        ("codec,condition", "C05,room+noise", "room+noise"),
    ],
)
def test_a_condition_goes_by_several_headings(manifest, header, row, condition):
    assert read(manifest(f"path,label,{header}\na.wav,real,{row}\n"))[0].condition == condition


def test_a_condition_comes_back_from_what_is_written(manifest, tmp_path):
    table = read(manifest("path,label,codec\na.wav,real,g722\nb.wav,fake,-\n"))
    write_manifest(table, tmp_path / "again.csv")
    assert [item.condition for item in read(tmp_path / "again.csv")] == ["g722", None]


def test_backslashes_and_dashes(manifest):
    table = read(manifest("path,label,speaker,codec\nspoof\\world\\a.wav,spoof,-,\n"))
    assert table[0].path.is_file() and table[0].attack == "world"
    assert table[0].speaker is None and table[0].condition is None


def test_audio_elsewhere(manifest, tmp_path):
    (tmp_path / "lists").mkdir()
    key = manifest("path,label\nbonafide/a.wav,real\n", "lists/m.csv")
    assert read(tmp_path, key=key)[0].path == tmp_path / "bonafide/a.wav"


def test_names_of_files_that_are_no_utf8(tmp_path):
    import os

    from molex_adapt.data import read
    from molex_adapt.features import source_id

    for place in ("bonafide", "spoof/A07"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / os.fsdecode(b"caf\xe9.wav")).touch()
    table = read(tmp_path)
    assert table[0].source == table[1].source == "caf\udce9"
    assert len(table.digest()) == 64 and len(source_id(table[0].source)) == 16


def _table(path: Path, rows: list[dict[str, object]]) -> Path:
    """Rows as pandas would write them: NaN where a cell is not there."""
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return path


def test_a_recording_that_is_listed_twice_counts_once(tmp_path, write):
    """Where no label is asked for; with labels it is a fault."""
    for name in "ab":
        write(tmp_path / f"{name}.wav")
    (tmp_path / "m.csv").write_text("path,speaker\na.wav,ann\n./a.wav,ann\nb.wav,NA\na.wav,ann\n")
    found = read_unlabelled(tmp_path / "m.csv")
    assert [(item.path.name, item.speaker) for item in found] == [("a.wav", "ann"), ("b.wav", None)]
    assert found.remarks == ("2 rows name a recording that another row names; each counts once",)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("missing", [math.nan, "nan", "NaN", "NA", "N/A", "<NA>", "-", " "])
def test_cells_that_are_not_there_are_absent_in_every_format(tmp_path, write, suffix, missing):
    columns = ["source", "speaker", "split", "condition", "text", "seconds", "forged", "attack"]
    if suffix == "parquet" and isinstance(missing, str):
        columns.remove("seconds")  # a column has one type
    rows = []
    for name, label in (("a", "bonafide"), ("b", "spoof")):
        write(tmp_path / f"{name}.wav")
        rows.append({"path": f"{name}.wav", "label": label} | dict.fromkeys(columns, missing))
    for item in read(_table(tmp_path / f"m.{suffix}", rows)):
        assert item.source == item.path.stem
        assert item.attack == (None if item.label == "bonafide" else "spoof")
        assert (item.speaker, item.split, item.condition, item.text, item.seconds, item.forged) == (None,) * 6


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_label_that_is_not_there_is_named_so(tmp_path, write, suffix):
    write(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"row \d: the label is empty"):
        read(_table(tmp_path / f"m.{suffix}", [{"path": "a.wav", "label": math.nan}]))


def test_names_of_a_condition_and_of_the_control_are_no_missing_cells(manifest):
    table = read(manifest("path,label,attack,condition\na.wav,spoof,null,none\n"))
    assert [(item.attack, item.condition) for item in table] == [("null", "none")]


def test_whole_numbers_beside_missing_ones_stay_whole(tmp_path, write):
    rows = [
        {"path": write(tmp_path / f"{n}.wav").name, "label": "bonafide", "speaker": n}
        for n in (7.0, math.nan)
    ]
    assert [item.speaker for item in read(_table(tmp_path / "m.parquet", rows))] == ["7", None]


@pytest.mark.parametrize(("stated", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_another_unicode_form_are_found_and_said(tmp_path, write, stated, there):
    name = "Gerät/Käse"
    write(tmp_path / (unicodedata.normalize(there, name) + ".wav"))
    (tmp_path / "m.csv").write_text(f"path,label\n{unicodedata.normalize(stated, name)}.wav,bonafide\n")
    table = read(tmp_path / "m.csv")
    assert table[0].path.is_file()
    assert len(audit(table).table) == 1
    assert "under another form of their names: 1" in audit(table).remarks[0]


def test_another_suffix_is_found_where_only_one_file_can_be_meant(tmp_path, write):
    for name in ("a.wav", "b.wav", "b.flac", "c.txt"):
        write(tmp_path / "x" / "z.wav")
        (tmp_path / "x" / "z.wav").rename(tmp_path / name)
    (tmp_path / "m.csv").write_text("path,label\na.flac,bonafide\nb.mp3,spoof\nc.wav,spoof\n")
    table = read(tmp_path / "m.csv")
    assert [item.path.name for item in table] == ["a.wav", "b.mp3", "c.wav"]
    assert table.remarks == ("under another form of their names: 1 (a.wav for a.flac)",)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("a.flac,spoof a.wav,bonafide", ["a.flac", "a.wav"]),
        ("A.wav,spoof a.wav,bonafide", ["A.wav", "a.wav"]),
        ("a.flac,spoof a.mp3,bonafide b.flac,spoof", ["a.flac", "a.mp3", "b.wav"]),
    ],
)
def test_two_names_never_get_one_file(tmp_path, write, rows, found):
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name)
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows.split()]))
    assert [item.path.name for item in read_manifest(tmp_path / "m.csv")] == found


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_go_to_a_path_that_is_no_utf_8(tmp_path, suffix):
    path = tmp_path / os.fsdecode(b"\xff." + suffix.encode())
    write_rows(path, ["name", "value"], [["a", 1.5]])
    assert path.stat().st_size
