"""Score files meet the truth in every form that labelled data may have."""

from __future__ import annotations

import json

import pytest

from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_files
from molex_adapt.scorefile import join, read_key, read_scores
from molex_adapt.truth import read_truth

LA = "LA_1 E_1 - A17 spoof\nLA_1 E_2 - A18 spoof\nLA_2 E_3 - - bonafide\nLA_2 E_4 - - bonafide\n"
FIVE = "E_0 E_1 F C05 4 E_9 AC2 A17 spoof -\nE_0 E_3 M - 0 - - bonafide bonafide -\n"


def scores(folder, *names):
    lines = [f"{name}\t{at}" for at, name in enumerate(names)]
    (folder / "scores.tsv").write_text("filename\tcm-score\n" + "\n".join(lines) + "\n")
    return folder / "scores.tsv"


def manifest(path, rows):
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        path.write_text("\n".join([mark.join(rows[0]), *(mark.join(row.values()) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("name", ["key.txt", "ASVspoof2019.LA.cm.eval.trl.txt", "key.tsv"])
def test_a_protocol_is_a_key(tmp_path, name):
    (tmp_path / name).write_text(LA)
    found = scores(tmp_path, "flac/E_4.flac", "flac/E_3.flac", "flac/E_2.flac", "flac/E_1.flac")
    report = evaluate_files(found, tmp_path / name)
    assert set(report.by_attack) == {"A17", "A18"} and report.overall.eer == 1.0
    assert "names that meet without folders and suffix: 4 (flac/E_4.flac and E_4)" in report.remarks


def test_codecs_of_asvspoof_5_are_conditions(tmp_path):
    (tmp_path / "ASVspoof5.eval.track_1.tsv").write_text(FIVE)
    key = read_truth(tmp_path / "ASVspoof5.eval.track_1.tsv")
    assert key.filenames == ("E_1", "E_3") and key.columns["condition"] == ("C05", "none")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_manifest_is_a_key_without_its_audio(tmp_path, suffix):
    rows = [
        {"path": "bonafide/1.wav", "label": "real", "attack": "", "condition": "opus"},
        {"path": "spoof/x/1.wav", "label": "fake", "attack": "x", "condition": "opus"},
    ]
    key = read_truth(manifest(tmp_path / f"m.{suffix}", rows))
    joined = join(read_scores(scores(tmp_path, "/data/spoof/x/1.wav", "/data/bonafide/1.wav")), key)
    assert joined.is_bona_fide.tolist() == [False, True]
    assert joined.columns == {"attack": ("x", ""), "condition": ("opus", "opus")}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_text_in_the_encodings_of_spreadsheets(tmp_path, encoding):
    (tmp_path / "k.tsv").write_text("filename\tcm-label\nE_1\tspoof\nE_2\tbonafide\n", encoding=encoding)
    (tmp_path / "s.tsv").write_text("filename\tcm-score\nE_1\t1\nE_2\t2\n", encoding=encoding)
    assert evaluate_files(tmp_path / "s.tsv", tmp_path / "k.tsv").overall.eer == 0
    (tmp_path / "p.txt").write_text(LA, encoding=encoding)
    assert len(read_truth(tmp_path / "p.txt").filenames) == 4


def test_stems_that_tell_nothing_apart_do_not_meet(tmp_path):
    rows = [{"path": "a/1.wav", "label": "real"}, {"path": "b/1.wav", "label": "fake"}]
    key = read_truth(manifest(tmp_path / "m.csv", rows))
    with pytest.raises(DataError, match="2 .* scored but not in the key"):
        join(read_scores(scores(tmp_path, "c/1.flac", "d/1.flac")), key)


def test_names_meet_in_another_unicode_form(tmp_path):
    (tmp_path / "k.tsv").write_text("filename\tcm-label\nGer\u00e4t\tspoof\n", encoding="utf-8")
    found = join(read_scores(scores(tmp_path, "x/Gera\u0308t.wav")), read_key(tmp_path / "k.tsv"))
    assert len(found.remarks) == 1


def test_the_official_key_is_read_as_ever(tmp_path):
    (tmp_path / "k.tsv").write_text("filename\tcm-label\tpath\nE_1\tspoof\tx\n")
    assert read_truth(tmp_path / "k.tsv").columns == {"path": ("x",)}
