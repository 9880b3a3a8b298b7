from __future__ import annotations

from pathlib import Path

import pytest

from molex_adapt.data import describe_split, read
from molex_adapt.errors import DataError

LA_2019 = {
    "train.trn": ("train", "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A01 spoof\n"),
    "dev.trl": ("dev", "LA_0069 LA_D_1047731 - - bonafide\nLA_0070 LA_D_9999999 - A06 spoof\n"),
    "eval.trl": ("eval", "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - - bonafide\n"),
}
FIVE = {
    "train": (
        "flac_T",
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\nT_0007 T_0000000001 M - - - - bonafide bonafide -\n",
    ),
    "dev.track_1": ("flac_D", "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n"),
    "eval.track_1": (
        "flac_E_eval",
        """E_1607 E_0009538969 M C05 4 E_0000117639 - bonafide bonafide -
E_1607 E_0000117639 M - 0 - - bonafide bonafide -
E_0031 E_0001111111 F C02 2 E_0000000009 AC2 A19 spoof -
""",
    ),
}


def _touch(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for line in text.splitlines():
        (folder / f"{line.split()[1]}.flac").touch()


@pytest.fixture
def la(tmp_path):
    root = tmp_path / "LA"
    for part, (folder, text) in LA_2019.items():
        protocols = root / "ASVspoof2019_LA_cm_protocols"
        protocols.mkdir(parents=True, exist_ok=True)
        (protocols / f"ASVspoof2019.LA.cm.{part}.txt").write_text(text)
        _touch(root / f"ASVspoof2019_LA_{folder}/flac", text)
    return root


@pytest.fixture
def five(tmp_path):
    root = tmp_path / "asvspoof5"
    root.mkdir()
    for part, (folder, text) in FIVE.items():
        (root / f"ASVspoof5.{part}.tsv").write_text(text)
        _touch(root / folder, text)
    return root


def test_the_2019_tree_from_either_root(la):
    table = read(la)
    assert read(la.parent).utterances == table.utterances
    assert [(i.source, i.label, i.attack, i.speaker, i.split) for i in table] == [
        ("LA_T_1138215", "bonafide", None, "LA_0079", "train"),
        ("LA_T_1271820", "spoof", "A01", "LA_0079", "train"),
        ("LA_D_1047731", "bonafide", None, "LA_0069", "dev"),
        ("LA_D_9999999", "spoof", "A06", "LA_0070", "dev"),
        ("LA_E_2834763", "spoof", "A11", "LA_0039", "test"),
        ("LA_E_8877452", "bonafide", None, "LA_0014", "test"),
    ]
    assert all(item.path.is_file() for item in table)
    assert "by speaker (5 speakers)" in describe_split(table)


def test_one_2019_protocol_file(la):
    table = read(la / "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt")
    assert [item.split for item in table] == ["test", "test"] and table[0].path.is_file()


def test_the_asvspoof_5_tree(five):
    table = read(five)
    assert [(i.label, i.attack, i.condition, i.speaker, i.split) for i in table] == [
        ("spoof", "A05", "none", "T_4850", "train"),
        ("bonafide", None, "none", "T_0007", "train"),
        ("spoof", "A11", "none", "D_0062", "dev"),
        ("bonafide", None, "C05", "E_1607", "test"),
        ("bonafide", None, "none", "E_1607", "test"),
        ("spoof", "A19", "C02", "E_0031", "test"),
    ]
    assert all(item.path.is_file() for item in table)
    assert table[3].source == table[4].source == "E_0000117639"


def test_asvspoof_5_protocols_in_their_own_folder_and_tabs(five):
    (five / "ASVspoof5_protocols").mkdir()
    for path in list(five.glob("*.tsv")):
        moved = five / "ASVspoof5_protocols" / path.name
        moved.write_text(path.read_text().replace(" ", "\t"))
        path.unlink()
    assert len(read(five)) == 6
    assert len(read(five / "ASVspoof5_protocols/ASVspoof5.train.tsv")) == 2


def test_a_renamed_protocol_far_from_its_audio(five, tmp_path):
    key = tmp_path / "keys/my_subset.txt"
    key.parent.mkdir()
    key.write_text(FIVE["eval.track_1"][1])
    for data in (five, five / "flac_E_eval"):
        table = read(data, key=key)
        assert [item.split for item in table] == ["test"] * 3 and table[0].path.is_file()


def test_a_part_of_the_audio_is_enough_to_read(five):
    (five / "flac_T/T_0000000000.flac").unlink()
    assert len(read(five)) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "T_1 T_2 F - - - AC3 A05 spoof -\nT_1 T_3 F - - A05 spoof\n",
            r"train\.tsv, line 2: 7 columns.*has 10",
        ),
        ("T_1 T_2 F - - - AC3 A05 spof -\n", "line 1: label 'spof' .* did you mean 'spoof'"),
        ("T_1 - F - - - AC3 A05 spoof -\n", "line 1: no file name"),
        ("T_1 ../../T_2 F - - - AC3 A05 spoof -\n", "line 1: the file name '../../T_2' leads elsewhere"),
        ("T_1 /etc/T_2 F - - - AC3 A05 spoof -\n", "line 1: the file name '/etc/T_2' leads elsewhere"),
        ("T_1 T\0_2 F - - - AC3 A05 spoof -\n", r"line 1: the file name 'T.x00_2' leads elsewhere"),
        ("\n", "is empty"),
        ("T_1 T_2 F - - - AC3 A05 spoof -\n", "none of its first 1 recordings exists"),
    ],
)
def test_faults_of_protocols(five, text, message):
    (five / "ASVspoof5.train.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(five)


def test_audio_that_is_not_there(la):
    (la / "ASVspoof2019_LA_dev/flac").rename(la / "elsewhere")
    with pytest.raises(
        DataError, match=r"dev\.trl\.txt lists recordings .* Looked for ASVspoof2019_LA_dev/flac"
    ):
        read(la)


def test_a_protocol_over_other_suffixes_finds_them_and_says_so(la):
    for path in la.rglob("*.flac"):
        path.rename(path.with_suffix(".wav"))
    table = read(la)
    assert {item.path.suffix for item in table} == {".wav"} and all(item.path.exists() for item in table)
    assert "LA_T_1138215.wav for LA_T_1138215.flac" in table.remarks[0]
