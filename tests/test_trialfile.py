from __future__ import annotations

import pytest

from molex_adapt.errors import DataError
from molex_adapt.trialfile import read_trials

SCORES = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"


def written(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_trials_of_asvspoof_2019_have_their_label_in_the_line(tmp_path):
    found = read_trials(
        written(tmp_path, "a.txt", "bonafide target 3.5\nbonafide nontarget -1\nA07 spoof 2e0\n")
    )
    assert found.kinds.tolist() == ["target", "nontarget", "spoof"]
    assert found.asv.tolist() == [3.5, -1.0, 2.0]
    assert (found.sasv, found.files, found.by_trial) == (None, None, False)
    assert found.attacks == ("bonafide", "bonafide", "A07")


def test_trials_of_asvspoof_2021_are_labelled_by_their_key(tmp_path):
    scores = written(tmp_path, "score.txt", "S1 E_1 3.5\nS1 E_2 -1\nS2 E_2 2\n")
    key = "S2 E_2 alaw ita_tx A07 spoof notrim eval\nS1 E_2 none - bonafide nontarget notrim eval\n"
    key += "S1 E_1 none - bonafide target notrim progress\n"
    found = read_trials(scores, written(tmp_path, "trial_metadata.txt", key))
    assert found.kinds.tolist() == ["target", "nontarget", "spoof"]
    assert (found.files, found.by_trial) == (("E_1", "E_2", "E_2"), False)
    with pytest.raises(DataError, match="score.txt does not say which trials.*--asv-key"):
        read_trials(scores)


@pytest.mark.parametrize(
    "key",
    [
        "spk\tfilename\tcm-label\tasv-label\nS1\tE_1\tbonafide\ttarget\nS2\tE_1\tbonafide\tnontarget\nS1\tE_3\tspoof\tspoof\n",
        "tar_spk_anon trial_anon asv_label\nS1 E_3 spoof\nS1 E_1 target\nS2 E_1 nontarget\n",
    ],
)
def test_a_table_of_asvspoof5_has_scores_of_both_systems(tmp_path, key):
    text = SCORES + "S1\tE_1\t0.1\t2.5\t0.4\nS2\tE_1\t0.1\t-2\t-3\nS1\tE_3\t-4\t1\t-5\n"
    found = read_trials(written(tmp_path, "s.tsv", text), written(tmp_path, "k.tsv", key))
    assert found.kinds.tolist() == ["target", "nontarget", "spoof"]
    assert (found.asv.tolist(), found.sasv.tolist()) == ([2.5, -2.0, 1.0], [0.4, -3.0, -5.0])
    assert (found.files, found.by_trial) == (("E_1", "E_1", "E_3"), True)
    alone = SCORES + "S1\tE_1\t-\t-\t0.4\nS2\tE_1\t-\t-\t-3\nS1\tE_3\t-\t-\t-5\n"
    found = read_trials(written(tmp_path, "s.tsv", alone), tmp_path / "k.tsv")
    assert (found.asv, found.sasv.tolist()) == (None, [0.4, -3.0, -5.0])


def test_four_fields_are_scores_of_a_system_that_rejects_spoofs_itself(tmp_path):
    found = read_trials(
        written(tmp_path, "s.txt", "S1 E_1 6.9 target\nS7 E_5 6 nontarget\nS7 E_7 -2 spoof\n")
    )
    assert (found.asv, found.sasv.tolist()) == (None, [6.9, 6.0, -2.0])


GOOD = "bonafide target 1\nbonafide nontarget 0\nA07 spoof 1\n"


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("", None, "is empty.*Expected lines of"),
        ("filename\tcm-score\na\t1\n", None, "holds no trials: its first line is 'filename cm-score'"),
        (GOOD + "A07 spoof nan\n", None, "line 4: score 'nan'. Expected a finite number"),
        ("S1 E_1 nan\nS1 E_2 1\n", "S1 E_1 target\n", "line 1: score 'nan'. Expected a finite number"),
        ("S1 E_1 inf target\n", None, "line 1: score 'inf'. Expected a finite number"),
        (SCORES + "S1 E_1 - 1 -\nS1 E_2 - - -\n", "S1 E_1 target\nS1 E_2 spoof\n", "line 3: score '-'"),
        (SCORES + "S1 E_1 - 1 NaN\n", "S1 E_1 target\n", "line 2: score 'NaN'"),
        (GOOD + "A07 fake 1\n", None, "line 4: 'fake' is no kind of trial"),
        (GOOD + "A07 spoof\n", None, "line 4: 2 fields .*Expected 3"),
        ("bonafide target 1\nA07 spoof 1\n", None, "has no nontarget trial"),
        (GOOD, "S1 E_1 target\n", "labels its trials itself; leave out --asv-key"),
        (
            "S1 E_1 1\nS1 E_2 1\n",
            "S1 E_1 target\n",
            "do not fit: 1 trials are scored but not in the key.*S1 E_2",
        ),
        ("S1 E_1 1\n", "S1 E_1 target\nS2 E_1 spoof\n", "1 in the key but not scored.*S2 E_1"),
        ("S1 E_1 1\n", "S1 E_1 bonafide\n", "is no key of trials"),
        (SCORES + "S1 E_1 - - -\n", "S1 E_1 target\n", "asv-score and sasv-score are '-' throughout"),
        ("filename asv-score\nE_1 2\n", None, "has no column 'spk'"),
        (SCORES, None, "has a header but no trials"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, key, says):
    path = written(tmp_path, "s.txt", text)
    with pytest.raises(DataError, match=says) as fault:
        read_trials(path, None if key is None else written(tmp_path, "k.txt", key))
    assert str(tmp_path) in str(fault.value)
