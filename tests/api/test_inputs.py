from __future__ import annotations

from molex_adapt.api.inputs import recordings
from tests.data.corpora.trees import asvspoof2021_la, touch


def test_a_part_of_a_corpus_can_be_scored(tmp_path):
    root = asvspoof2021_la(tmp_path / "corpus")
    touch(tmp_path / "call#1" / "a.wav", tmp_path / "call#1" / "b.wav")
    assert len(recordings(root)) == 5
    assert [item.path.stem for item in recordings(f"{root}#progress,hidden")] == [
        "LA_E_8589971",
        "LA_E_1111111",
    ]
    assert len(recordings([f"{root}#eval", tmp_path / "call#1"])) == 5  # a folder that has a # in its name
