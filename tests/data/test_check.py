from __future__ import annotations

import pytest

from molex_adapt.data import read, write_manifest
from molex_adapt.data.check import check
from molex_adapt.errors import DataError
from tests.data.corpora.trees import TREES, asvspoof5, asvspoof2019, touch


@pytest.mark.parametrize("name", TREES)
def test_a_whole_corpus_has_no_faults(tmp_path, name):
    found = check(TREES[name](tmp_path))
    assert found.ok and found.recognised == name
    told = found.as_dict()
    assert told["licence"] and told["home"] and told["recordings"] == len(read(tmp_path))
    assert told["bonafide"] and told["spoof"] == sum(told["attacks"].values())


def test_parts_conditions_and_attacks_are_counted(tmp_path):
    told = check(asvspoof5(tmp_path)).as_dict()
    assert told["parts"]["eval"] == told["splits"]["test"] == {"bonafide": 2, "spoof": 1}
    assert told["attacks"] == {"A05": 1, "A11": 1, "A19": 1}
    assert told["conditions"]["C05"] == {"bonafide": 1, "spoof": 0}
    assert (told["speakers"], told["sources"]) == (6, 6)
    assert check(f"{tmp_path}#eval").as_dict()["recordings"] == 3


def test_faults_are_collected_with_file_and_line(tmp_path):
    root = asvspoof2019(tmp_path)
    protocol = root / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
    first = protocol.read_text().splitlines()[0]
    protocol.write_text(protocol.read_text() + f"{first}\nLA_1 LA_T_3 - A01 bonafide\nLA_1 LA_T_4\n")
    (root / "LA/ASVspoof2019_LA_dev/flac/LA_D_9999999.flac").unlink()
    found = check(root)
    assert not found.ok and len(found.table) == 6
    assert [(fault.line, fault.kind) for fault in found.faults] == [
        (5, "line"),
        (3, "duplicate"),
        (4, "label"),
    ]
    (lost,) = found.missing_named
    assert lost.place.endswith("ASVspoof2019.LA.cm.dev.trl.txt, line 2") and lost.text.endswith(
        "LA_D_9999999.flac"
    )


def test_missing_recordings_are_all_counted(tmp_path):
    root = asvspoof5(tmp_path)
    protocol = root / "ASVspoof5_protocols/ASVspoof5.train.tsv"
    protocol.write_text("".join(f"T_1 T_{at:010d} F - - - AC3 A05 spoof -\n" for at in range(150)))
    found = check(root)
    assert (found.missing, len(found.missing_named)) == (148, 100)


def test_audio_that_was_not_downloaded(tmp_path):
    root = asvspoof5(tmp_path)
    (root / "flac_E_eval").rename(root.parent / f"{root.name}-elsewhere")
    found = check(root)
    assert [fault.kind for fault in found.faults] == ["folder"]
    assert found.missing == 3
    assert check(f"{root}#train,dev").ok


def test_a_manifest(tmp_path):
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    (tmp_path / "manifest.csv").write_text(
        "path,label,attack,split\na.wav,real,,train\nb.wav,fake,A1,test\nc.wav,fake,A1,test\na.wav,real,,train\n"
        "d.wav,1,,\ne.wav,real,A1,\n"
    )
    found = check(tmp_path)
    assert found.recognised == "a manifest"
    assert [(fault.line, fault.kind) for fault in found.faults] == [
        (5, "duplicate"),
        (6, "label"),
        (7, "label"),
    ]
    assert [fault.line for fault in found.missing_named] == [4]
    assert found.as_dict()["splits"] == {
        "train": {"bonafide": 1, "spoof": 0},
        "test": {"bonafide": 0, "spoof": 2},
    }


def test_a_manifest_that_names_one_file_by_two_suffixes(tmp_path):
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    (tmp_path / "manifest.csv").write_text("path,label\na.flac,spoof\na.wav,bonafide\nb.flac,spoof\n")
    found = check(tmp_path)
    assert [(fault.line, fault.text) for fault in found.missing_named] == [(2, str(tmp_path / "a.flac"))]
    assert len(found.table) == 3 and not found.faults


def test_a_manifest_in_the_working_directory(tmp_path, monkeypatch):
    touch(tmp_path / "a.wav")
    (tmp_path / "mine.csv").write_text("path,label\na.wav,real\nb.wav,real\n")
    monkeypatch.chdir(tmp_path)
    assert [fault.text for fault in check("mine.csv").missing_named] == ["b.wav"]


def test_parts_of_a_manifest(tmp_path):
    write_manifest(read(asvspoof2019(tmp_path / "corpus")), tmp_path / "mine.csv")
    found = check(f"{tmp_path / 'mine.csv'}#dev")
    assert found.ok and len(found.table) == 2


def test_class_folders_and_one_class_alone(tmp_path):
    touch(tmp_path / "real/a.wav", tmp_path / "fake/tts/b.wav")
    found = check(tmp_path)
    assert (found.recognised, found.ok, found.as_dict()["attacks"]) == ("class folders", True, {"tts": 1})
    (tmp_path / "fake/tts/b.wav").unlink()
    assert "no spoof recordings: both classes are needed" in check(tmp_path).remarks[0]


def test_a_list_of_nothing_is_a_fault(tmp_path):
    (tmp_path / "mine.csv").write_text("path,label,attack,speaker\n")
    found = check(tmp_path / "mine.csv")
    assert not found.ok
    assert [(fault.place, fault.kind) for fault in found.faults] == [(str(tmp_path / "mine.csv"), "empty")]
    assert "lists no recordings" in found.faults[0].text


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no data set"):
        check(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        check(tmp_path / "nowhere")
