from __future__ import annotations

import pytest

from molex_adapt.data.labels import label_fault, label_of, nearest_split, split_of


@pytest.mark.parametrize(
    "word", ["bonafide", "Bona-Fide", "BONA_FIDE", "bona fide", "real", "Genuine ", "human"]
)
def test_bona_fide_spellings(word):
    assert label_of(word) == "bonafide"


@pytest.mark.parametrize("word", ["spoof", "FAKE", "deepfake", "deep-fake", "AI"])
def test_spoof_spellings(word):
    assert label_of(word) == "spoof"


@pytest.mark.parametrize("word", ["bonafied", "spoofed", "", "0", "null", "realistic"])
def test_anything_else_is_no_label(word):
    assert label_of(word) is None


def test_a_fault_names_the_nearest_word_and_refuses_numbers():
    assert "did you mean 'bonafide'?" in label_fault("bonafied")
    assert "write the word" in label_fault("1")
    assert "write 'bonafide' or 'spoof'" in label_fault("xyzzy")


@pytest.mark.parametrize(
    ("word", "split"),
    [("Train", "train"), ("val", "dev"), ("EVAL", "test"), ("testing", "test"), ("tets", None)],
)
def test_split_spellings(word, split):
    assert split_of(word) == split


def test_the_nearest_split():
    assert nearest_split("tets") == "test"
