"""Every corpus, read from a tree in its form: what is recognised, what its rows mean, and that its splits are kept."""

from __future__ import annotations

import pytest

from molex_adapt.data import assign_splits, describe_split, read
from molex_adapt.data.corpora import CORPORA, recognise
from molex_adapt.errors import DataError
from molex_adapt.truth import read_truth
from tests.data.corpora.trees import TREES, fake_or_real, touch

OZMA = "female/judy_bieber/ozma_of_oz/wavs/ozma_01_f00000"
MEANT = {
    "ASVspoof 2019 LA": [
        ("bonafide", None, "LA_T_1138215", "LA_0079", "train", None),
        ("spoof", "A01", "LA_T_1271820", "LA_0079", "train", None),
        ("bonafide", None, "LA_D_1047731", "LA_0069", "dev", None),
        ("spoof", "A06", "LA_D_9999999", "LA_0070", "dev", None),
        ("spoof", "A11", "LA_E_2834763", "LA_0039", "test", None),
        ("bonafide", None, "LA_E_8877452", "LA_0014", "test", None),
    ],
    "ASVspoof 2021 LA": [
        ("spoof", "A07", "LA_E_9332881", "LA_0009", "test", "alaw"),
        ("spoof", "A07", "LA_E_6866159", "LA_0009", "test", "none"),
        ("bonafide", None, "LA_E_5464494", "LA_0020", "test", "pstn"),
        ("bonafide", None, "LA_E_8589971", "LA_0020", "test", "none"),
        ("spoof", "A19", "LA_E_1111111", "LA_0009", "test", "opus"),
    ],
    "ASVspoof 2021 DF": [
        ("spoof", "A14", "DF_E_2000011", "LA_0023", "test", "none"),
        ("spoof", "Task1-team20", "DF_E_2000012", "TEF2", "test", "low_m4a"),
        ("bonafide", None, "DF_E_2000013", "LA_0023", "test", "oggm4a"),
    ],
    "ASVspoof 5": [
        ("spoof", "A05", "T_0000000000", "T_4850", "train", "none"),
        ("bonafide", None, "T_0000000001", "T_0007", "train", "none"),
        ("spoof", "A11", "D_0000000001", "D_0062", "dev", "none"),
        ("bonafide", None, "D_0000000022", "D_0755", "dev", "none"),
        ("bonafide", None, "E_0000117639", "E_1607", "test", "C05"),
        ("bonafide", None, "E_0000117639", "E_1607", "test", "none"),
        ("spoof", "A19", "E_0000000009", "E_0031", "test", "C02"),
    ],
    "In-the-Wild": [
        ("spoof", "spoof", "0", "Alec Guinness", None, None),
        ("spoof", "spoof", "1", "Alec Guinness", None, None),
        ("bonafide", None, "2", "Barack Obama", None, None),
    ],
    "MLAAD": [
        (
            "spoof",
            "tts_models_en_ljspeech_vits",
            f"{OZMA}1",
            None,
            None,
            None,
        ),
        (
            "spoof",
            "tts_models_en_ljspeech_vits",
            f"{OZMA}2",
            None,
            None,
            None,
        ),
        ("spoof", "bark", f"{OZMA}1", None, None, None),
        *(
            (
                "bonafide",
                None,
                f"{OZMA}{number}",
                "judy_bieber",
                None,
                None,
            )
            for number in (1, 2, 3)
        ),
    ],
    "WaveFake": [
        (
            "spoof",
            "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech",
            "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_1",
            "LJSpeech",
            None,
            None,
        ),
        ("spoof", "jsut_parallel_wavegan", "BASIC5000_0001", "JSUT", None, None),
        ("spoof", "ljspeech_hifiGAN", "LJ001-0001", "LJSpeech", None, None),
        ("spoof", "ljspeech_melgan", "LJ001-0001", "LJSpeech", None, None),
        ("spoof", "ljspeech_melgan", "LJ001-0002", "LJSpeech", None, None),
        ("bonafide", None, "LJ001-0001", "LJSpeech", None, None),
        ("bonafide", None, "LJ001-0002", "LJSpeech", None, None),
        ("bonafide", None, "BASIC5000_0001", "JSUT", None, None),
    ],
    "Fake-or-Real": [
        (label, attack, f"{part}/{folder}/file1", None, split, None)
        for part, split in (("training", "train"), ("validation", "dev"), ("testing", "test"))
        for folder, label, attack in (("fake", "spoof", "spoof"), ("real", "bonafide", None))
    ],
    "SpoofCeleb": [
        ("bonafide", None, "train/a00/id10001/J9lHsKG98U8-00001-001", "id10001", "train", None),
        ("spoof", "a01", "train/a01/id10001/J9lHsKG98U8-00001-001", "id10001", "train", None),
        ("bonafide", None, "development/a00/id10318/YYsxcZ5saac-00002-006", "id10318", "dev", None),
        ("spoof", "a06", "development/a06/id10318/YYsxcZ5saac-00002-006", "id10318", "dev", None),
        ("bonafide", None, "evaluation/a00/id10270/5r0dWxy17C8-00001-002", "id10270", "test", None),
        ("spoof", "a15", "evaluation/a15/id10270/5r0dWxy17C8-00001-002", "id10270", "test", None),
    ],
    "PartialSpoof": [
        ("spoof", "CON", "CON_T_0000000", "LA_0079", "train", None),
        ("bonafide", None, "LA_T_1138215", "LA_0079", "train", None),
        ("spoof", "CON", "CON_D_0000001", "LA_0069", "dev", None),
        ("bonafide", None, "LA_D_1047731", "LA_0069", "dev", None),
        ("spoof", "CON", "CON_E_0000001", "LA_0039", "test", None),
        ("bonafide", None, "LA_E_8877452", "LA_0014", "test", None),
    ],
}
"""Label, attack, source, speaker, split, condition."""


def test_every_corpus_has_a_tree_and_says_where_it_comes_from():
    assert [corpus.name for corpus in CORPORA] == list(TREES) == list(MEANT)
    assert all("https://" in corpus.home and corpus.licence and corpus.citation for corpus in CORPORA)


@pytest.mark.parametrize("name", TREES)
def test_a_corpus_is_read_from_its_root(tree, name):
    root = tree(name)
    found = recognise(root)
    assert found is not None and found.corpus.name == name
    table = read(root)
    assert [(i.label, i.attack, i.source, i.speaker, i.split, i.condition) for i in table] == MEANT[name]
    assert all(item.path.is_file() for item in table)
    assert table.remarks == ()


@pytest.mark.parametrize("name", TREES)
def test_splits_that_are_published_are_kept_and_nothing_stands_on_two_sides(tree, name):
    table = read(tree(name))
    if all(item.split is not None for item in table):
        assert assign_splits(table, seed=3).utterances == table.utterances
        if len({item.split for item in table}) == 3:
            assert "disjoint by recording" in describe_split(table)
    else:
        assert {item.split for item in table} == {None}
        divided = assign_splits(table, seed=3, fractions=(0.5, 0.0, 0.5)) if len(table) > 3 else table
        assert "NOT disjoint" not in describe_split(divided)


@pytest.mark.parametrize(
    ("name", "parts", "count", "splits"),
    [
        ("ASVspoof 2019 LA", "train,dev", 4, {"train", "dev"}),
        ("ASVspoof 2019 LA", "eval", 2, {None}),
        ("ASVspoof 5", "test", 3, {None}),
        ("ASVspoof 5", "train, eval", 5, {"train", "test"}),
        ("ASVspoof 2021 LA", "eval", 3, {None}),
        ("ASVspoof 2021 LA", "progress,hidden", 2, {"test"}),
        ("ASVspoof 2021 DF", "progress", 1, {None}),
        ("Fake-or-Real", "validation", 2, {None}),
        ("Fake-or-Real", "dev", 2, {None}),
        ("SpoofCeleb", "evaluation", 2, {None}),
        ("PartialSpoof", "train,eval", 4, {"train", "test"}),
    ],
)
def test_parts_by_the_publishers_word_or_any_other(tree, name, parts, count, splits):
    table = read(f"{tree(name)}#{parts}")
    assert len(table) == count and {item.split for item in table} == splits


def test_a_part_that_is_not_there(tree):
    with pytest.raises(
        DataError, match=r"has no part 'hidden' of ASVspoof 2019 LA. Its parts are train, dev, eval"
    ):
        read(f"{tree('ASVspoof 2019 LA')}#hidden")


def test_a_corpus_without_parts_says_so(tree):
    with pytest.raises(DataError, match="Its parts are none: it is not divided"):
        read(f"{tree('In-the-Wild')}#train")


def test_parts_whose_audio_was_not_downloaded_are_no_hindrance_to_others(tree):
    root = tree("ASVspoof 5")
    for path in (root / "flac_E_eval").iterdir():
        path.unlink()
    (root / "flac_E_eval").rmdir()
    with pytest.raises(
        DataError, match=r"their folder is not there\. Looked for flac_E_eval .*DIR#train,dev"
    ):
        read(root)
    assert len(read(f"{root}#train,dev")) == 4


def test_one_protocol_file_is_enough(tree):
    root = tree("ASVspoof 2021 LA")
    key = root / "LA-keys-full/keys/LA/CM/trial_metadata.txt"
    assert len(read(key)) == 5
    assert len(read(f"{key}#hidden")) == 1
    moved = root / "mine.txt"
    moved.write_text(key.read_text())
    assert read(root / "ASVspoof2021_LA_eval/flac", key=moved)[0].path.is_file()


def test_two_corpora_in_one_folder_are_not_mixed(tree):
    root = tree("ASVspoof 2021 LA")
    TREES["ASVspoof 2021 DF"](root)
    with pytest.raises(
        DataError, match=r"several corpora: ASVspoof 2021 LA \(.*; ASVspoof 2021 DF \(keys/DF"
    ):
        read(root)


def test_versions_of_fake_or_real_are_not_mixed(tree):
    root = tree("Fake-or-Real")
    touch(*(root / f"for-2sec/for-2seconds/training/{label}/file1.wav" for label in ("fake", "real")))
    with pytest.raises(
        DataError, match=r"several versions of .* \(for-2sec/for-2seconds, for-norm/for-norm\)"
    ):
        read(root)
    assert len(read(root / "for-norm")) == 6


@pytest.mark.parametrize(
    ("name", "folder", "says"),
    [
        ("MLAAD", "M-AILABS", "MLAAD holds no bona fide speech: unpack M-AILABS into"),
        ("WaveFake", "LJSpeech-1.1", "WaveFake holds no bona fide speech: unpack LJSpeech into"),
    ],
)
def test_forgeries_without_originals_say_what_is_missing(tree, name, folder, says):
    root = tree(name)
    (root / folder).rename(root.parent / "elsewhere")
    assert says in read(root).remarks[0]


def test_originals_may_lie_beside_the_corpus(tree):
    root = tree("MLAAD")
    (root / "M-AILABS").rename(root.parent / "m-ailabs")
    assert read(root).counts() == {"bonafide": 3, "spoof": 3}


def test_an_ordinary_folder_is_no_corpus(tmp_path):
    touch(tmp_path / "real/a.wav", tmp_path / "fake/en/b.wav")
    assert recognise(tmp_path) is None
    assert len(read(tmp_path)) == 2


def test_the_table_of_fake_or_real_is_made_from_any_of_its_folders(tmp_path):
    fake_or_real(tmp_path)
    assert len(read(tmp_path / "for-norm/for-norm")) == 6


def test_a_key_of_2021_is_the_truth_beside_a_score_file(tree):
    truth = read_truth(tree("ASVspoof 2021 LA") / "LA-keys-full/keys/LA/CM/trial_metadata.txt")
    assert sorted(truth.filenames) == sorted(source for _, _, source, *_ in MEANT["ASVspoof 2021 LA"])
    assert dict(zip(truth.filenames, truth.is_bona_fide, strict=True))["LA_E_5464494"]
