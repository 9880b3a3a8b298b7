from __future__ import annotations

from pathlib import Path

import pytest

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Table, Utterance
from molex_adapt.data.named import corpora_named

CALLED = {
    "ASVspoof2019-LA": "/data/LA/ASVspoof2019_LA_eval/flac/a.flac",
    "ASVspoof 2019": "/data/LA/ASVspoof2019_LA_eval/flac/a.flac",
    "asvspoof5": "/ASVspoof_5/a.flac",
    "In-the-Wild": "/x/in_the_wild/a.wav",
    "mozilla-foundation/common_voice_11_0": "/x/common-voice-11.0-de/a.mp3",
    "MLS": "/x/mls_german/train/a.flac",
    "VoxCeleb2": "/x/VOXCELEB2/a.wav",
}
OTHERS = {
    "MLS": "/x/htmls/a.flac",
    "ASVspoof2019-LA": "/x/ASVspoof2019_PA/a.flac",
    "ASVspoof2021-DF": "/x/ASVspoof2019_LA/a.flac",
    "a": "/x/b/a.wav",  # a recording's own name is none of a corpus
    "": "/x/b/a.wav",
    "-": "/x/b/a.wav",
}


def table(path: str, root: str = "/") -> Table:
    return Table((Utterance(Path(path), BONA_FIDE),), root)


@pytest.mark.parametrize("name", CALLED)
def test_a_corpus_is_known_by_any_of_its_names(name):
    assert corpora_named([name, "FLEURS"], table(CALLED[name])) == [name]


@pytest.mark.parametrize(("name", "path"), OTHERS.items())
def test_other_corpora_are_not_taken_for_it(name, path):
    assert corpora_named([name], table(path)) == []


def test_a_protocol_and_the_folder_that_one_is_in_count(tmp_path, monkeypatch):
    protocol = "/x/ASVspoof2019.LA.cm.eval.trl.txt"
    assert corpora_named(["ASVspoof2019-LA"], table("/y/a.flac", protocol)) == ["ASVspoof2019-LA"]
    (tmp_path / "MLS").mkdir()
    monkeypatch.chdir(tmp_path / "MLS")
    assert corpora_named(["MLS"], table("a.flac", ".")) == ["MLS"]
