from __future__ import annotations

import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.published.labels import bona_fide_label

CLEAR = {
    ("bonafide", "spoof"): 0,
    ("Fake", "Real"): 1,
    ("AI-generated", "human"): 1,
    ("fake_audio", "real_audio"): 1,
    ("HumanVoice", "AIVoice"): 0,
    ("Bona-Fide", "synthetic speech"): 0,
    ("genuine", "tts", "vc"): 0,
}


@pytest.mark.parametrize("labels", CLEAR)
def test_labels_that_say_it(labels):
    assert bona_fide_label(dict(enumerate(labels)), None, "it") == CLEAR[labels]


UNCLEAR = [
    ("LABEL_0", "LABEL_1"),
    ("real", "human"),
    ("happy", "angry"),
    ("fake", "spoof"),
    ("real", "music"),
]


@pytest.mark.parametrize("labels", UNCLEAR)
def test_labels_that_do_not_say_it_are_refused_with_their_names(labels):
    with pytest.raises(RegistryError, match=f"it do not say .* 0 '{labels[0]}', .* --bona-fide-label LABEL"):
        bona_fide_label(dict(enumerate(labels)), None, "it")


def test_what_the_user_says_counts_more():
    labels = {0: "LABEL_0", 1: "LABEL_1"}
    assert [bona_fide_label(labels, said, "it") for said in ("LABEL_1", "label_0", "1")] == [1, 0, 1]
    assert bona_fide_label({0: "real", 1: "fake"}, "fake", "it") == 1
    assert bona_fide_label({0: "1", 1: "0"}, "1", "it") == 0  # a label before a number
    with pytest.raises(RegistryError, match=r"no one label 'real'; it has 0 'LABEL_0'"):
        bona_fide_label(labels, "real", "it")


def test_one_output_is_no_detector():
    with pytest.raises(RegistryError, match="has one output"):
        bona_fide_label({0: "real"}, None, "it")
