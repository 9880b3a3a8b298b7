"""Score and key files: what is written reads back, and every fault is named with its place."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt.errors import DataError
from molex_adapt.metrics import measure
from molex_adapt.scorefile import join, line_name, read_key, read_scores, write_scores

SCORES = "filename\tcm-score\nE_1\t0.5\nE_2\t-1.25\nE_3\t2\n"
KEY = "filename\tcm-label\tattack\nE_3\tbonafide\t-\nE_1\tspoof\tA17\nE_2\tspoof\tA18\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "scores.tsv").write_text(SCORES)
    (tmp_path / "key.tsv").write_text(KEY)
    return tmp_path


def test_scores_meet_their_key_by_name(files):
    joined = join(read_scores(files / "scores.tsv"), read_key(files / "key.tsv"))
    assert joined.filenames == ("E_1", "E_2", "E_3")
    assert joined.scores.tolist() == [0.5, -1.25, 2.0]
    assert joined.is_bona_fide.tolist() == [False, False, True]
    assert joined.columns == {"attack": ("A17", "A18", "-")}
    assert (
        measure(joined.scores[joined.is_bona_fide], joined.scores[~joined.is_bona_fide], bootstrap=10).eer
        == 0
    )


def test_written_scores_read_back_to_the_same_floats(tmp_path):
    values = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)
    names = tuple(f"folder/Gerät {at}.flac" for at in range(50))
    write_scores(tmp_path / "scores.tsv", names, values)
    back = read_scores(tmp_path / "scores.tsv")
    assert back.filenames == names
    assert np.array_equal(back.values, values)
    assert (tmp_path / "scores.tsv").read_text(encoding="utf-8").startswith("filename\tcm-score\nfolder/")


def test_float32_scores_and_other_orders_of_columns_read(tmp_path):
    write_scores(tmp_path / "s.tsv", ["a"], np.array([0.1], dtype=np.float32))
    assert read_scores(tmp_path / "s.tsv").values[0] == np.float32(0.1)
    (tmp_path / "k.tsv").write_text(
        "codec\tcm-label\tfilename\r\nmp3\tBona-Fide\ta\r\n\r\n", encoding="utf-8-sig"
    )
    key = read_key(tmp_path / "k.tsv")
    assert key.filenames == ("a",)
    assert key.is_bona_fide.tolist() == [True]
    assert key.columns == {"codec": ("mp3",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("E_1\t0.5\nE_2\t1\n", "no column 'filename'.*'E_1.t0.5'"),
        ("filename\tscore\nE_1\t0.5\n", "no column 'cm-score'.*Rename column 'score'"),
        ("filename,cm-score\nE_1,0.5\n", "separated by ','"),
        ("filename cm-score\nE_1 0.5\n", "separated by ' '"),
        ("filename\tcm-score\tcm-score\nE_1\t1\t2\n", "'cm-score' comes twice"),
        ("filename\tcm-score\nE_1\t0.5\nE_2 1.0\n", "line 3: 1 columns"),
        ("filename\tcm-score\nE_1\t1\nE_2\t1\nE_1\t2\n", "line 4: 'E_1' again, as in line 2"),
        ("filename\tcm-score\n\t1\n", "line 2: no file name"),
        ("filename\tcm-score\nE_1\t1\n\nE_2\thigh\n", "line 4: score 'high'"),
        ("filename\tcm-score\nE_1\tnan\n", "line 2: score 'nan'"),
        ("filename\tcm-score\nE_1\t1e999\n", "line 2: score '1e999'"),
        ("filename\tcm-score\nE_1\t\n", "line 2: score ''"),
        ("filename\tcm-score\n", "header but no rows"),
        ("", "no column 'filename'"),
    ],
)
def test_faulty_score_files_are_refused_with_the_place(tmp_path, text, says):
    (tmp_path / "scores.tsv").write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read_scores(tmp_path / "scores.tsv")
    assert "scores.tsv" in str(caught.value)


@pytest.mark.parametrize(("label", "near"), [("bonafied", "bonafide"), ("spof", "spoof"), ("1", "write")])
def test_an_unknown_label_is_named_with_the_nearest_word(tmp_path, label, near):
    (tmp_path / "key.tsv").write_text(f"filename\tcm-label\nE_1\tspoof\nE_2\t{label}\n")
    with pytest.raises(DataError, match=f"key.tsv, line 3: label '{label}'.*{near}"):
        read_key(tmp_path / "key.tsv")


@pytest.mark.parametrize("content", [None, b"filename\tcm-score\nE\xff\t1\n"])
def test_unreadable_files_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "scores.tsv").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read|is not UTF-8 text"):
        read_scores(tmp_path / "scores.tsv")


def test_files_on_one_side_only_are_counted_with_examples(files):
    extra = "".join(f"X_{at}\t1\n" for at in range(5))
    (files / "scores.tsv").write_text("filename\tcm-score\nE_1\t1\nE_2\t1\n" + extra)
    with pytest.raises(DataError) as caught:
        join(read_scores(files / "scores.tsv"), read_key(files / "key.tsv"))
    assert "5 ('X_0', 'X_1', 'X_2', ...) scored but not in the key" in str(caught.value)
    assert "1 ('E_3') in the key but not scored" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "values", "says"),
    [
        (["a"], [1.0, 2.0], "1 file names"),
        (["a", "a"], [1.0, 2.0], "comes twice"),
        (["a", "b"], [1.0, float("nan")], "'b' has score nan"),
        (["a\tb"], [1.0], "without tabs"),
        (["a\nb"], [1.0], "one line"),
        (["a\udcff"], [1.0], "UTF-8"),
        (["a "], [1.0], "outer spaces"),
        ([""], [1.0], "cannot be a file name"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, names, values, says):
    path = tmp_path / "scores.tsv"
    path.write_text(SCORES)
    with pytest.raises(DataError, match=says):
        write_scores(path, names, values)
    assert path.read_text() == SCORES
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.tsv"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "scores.tsv"
    path.write_text(SCORES)

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match="disk full"):
        write_scores(path, ["a"], [1.0])
    assert path.read_text() == SCORES
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.tsv"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_scores(tmp_path / "none" / "scores.tsv", ["a"], [1.0])


@pytest.mark.parametrize("text", [SCORES, "\ufeff" + SCORES, ""])
def test_a_score_file_gives_way_to_another_whatever_its_name(tmp_path, text):
    path = tmp_path / "old.wav"
    path.write_text(text, encoding="utf-8")
    write_scores(path, ["a"], [1.0])
    assert read_scores(path).filenames == ("a",)


@pytest.mark.parametrize(
    "content", [KEY.encode(), b"RIFF\x24\0\0\0WAVE", b"filename\tcm-score\tmine\na\t1\tx\n", b"\xff"]
)
def test_nothing_but_a_score_file_gives_way(tmp_path, content):
    path = tmp_path / "scores.tsv"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match="scores.tsv is there already and is .*, not a score file.*Name another"
    ):
        write_scores(path, ["a"], [1.0])
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a/Gerät 1.wav", "a/Gerät 1.wav"),
        ("a\tb.wav", "a\\tb.wav"),
        ("a\nb", "a\\nb"),
        ("\udcff.wav", "\\udcff.wav"),
        (" a b ", "\\u0020a b\\u0020"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_a_name_that_no_line_holds_is_put_so_that_one_does(tmp_path, name, written):
    assert line_name(name) == written
    write_scores(tmp_path / "s.tsv", [written], [1.0])
    assert read_scores(tmp_path / "s.tsv").filenames == (written,)


def test_scores_for_the_arena_are_lines_of_name_and_score(tmp_path):
    """The form that the Arena's submission guide states: `<utterance_id> <score>`, higher is more bona fide."""
    path = tmp_path / "scores.txt"
    write_scores(path, ["LA_E_1", "LA_E_2"], [0.1, -2.5e-7], form="arena")
    assert path.read_text() == "LA_E_1 0.1\nLA_E_2 -2.5e-07\n"
    back = read_scores(path)
    assert (back.filenames, back.values.tolist()) == (("LA_E_1", "LA_E_2"), [0.1, -2.5e-7])
    write_scores(path, ["LA_E_1"], [1.0], form="arena")  # gives way to its like
    labels = "LA_E_1 0.5\nLA_E_2 1\n"
    for other in ("schema 1\nbase tiny\n", "schema: 1\n", labels, SCORES):
        path.write_text(other)
        with pytest.raises(DataError, match="is there already and is .*, not a score file of the Arena"):
            write_scores(path, ["LA_E_1"], [1.0], form="arena")
        assert path.read_text() == other
    path.unlink()
    with pytest.raises(DataError, match="'my file' has a blank in it"):
        write_scores(path, ["my file"], [1.0], form="arena")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a nan\nb 2\n", "line 1: score 'nan'"),
        ("a  1\nb inf\n", "line 2: score 'inf'"),
        ("a 1\nb\n", "line 2: 'b'. Expected a name and a score"),
        ("a 1\nb 2 3\n", "line 2: 'b 2 3'"),
        ("a 1\n\na 2\n", "line 3: 'a' again"),
        ("a 1\nb 1_5\n", "line 2: score '1_5'"),
    ],
)
def test_faults_of_lines_are_named_with_their_number(tmp_path, text, says):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        read_scores(tmp_path / "s.txt")


def test_any_number_of_blanks_parts_name_and_score(tmp_path):
    (tmp_path / "s.txt").write_text("a.flac  1\n b.flac   -2.5 \n")
    assert read_scores(tmp_path / "s.txt").values.tolist() == [1.0, -2.5]
