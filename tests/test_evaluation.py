from __future__ import annotations

import numpy as np
import pytest

from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_scores
from molex_adapt.metrics import measure
from molex_adapt.scorefile import Joined


def joined(**columns: tuple[str, ...]) -> Joined:
    scores = np.array([2.0, 1.0, 3.0, -1.0, 1.5, -2.0])
    real = np.array([True, True, True, False, False, False])
    return Joined(tuple("abcdef"), scores, real, columns)


def test_attacks_and_codecs_are_measured_apart():
    attack = ("-", "-", "", "A01", "A02", "A02")
    report = evaluate_scores(joined(attack=attack, codec=("x", "y", "y", "x", "y", "-")), bootstrap=50)
    scores = joined().scores
    assert report.overall == measure(scores[:3], scores[3:], bootstrap=50)
    assert sorted(report.by_attack) == ["A01", "A02"]
    assert (report.by_attack["A02"].bona_fide, report.by_attack["A02"].spoof) == (3, 2)
    assert sorted(report.by_codec) == ["x", "y"]
    assert (report.by_codec["y"].bona_fide, report.by_codec["y"].spoof) == (2, 1)


def test_a_codec_without_a_class_is_not_measured_but_named():
    report = evaluate_scores(joined(codec=("x", "x", "x", "x", "x", "z")), bootstrap=20)
    assert report.by_codec["z"] is None
    assert report.as_dict()["by_codec"]["z"] is None
    assert report.remarks == ["codec z lacks a class: not measured"]


def test_a_missing_class_is_an_error():
    alone = Joined(("a",), np.array([1.0]), np.array([True]), {})
    with pytest.raises(DataError):
        evaluate_scores(alone)


TIED = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, -1.0])
REAL = np.arange(10) < 5


def tied() -> Joined:
    return Joined(
        tuple("abcdefghij"),
        TIED,
        REAL,
        {"attack": ("-",) * 5 + ("A01",) * 4 + ("A02",), "codec": ("x",) * 9 + ("-",)},
    )


def test_equal_scores_are_read_as_the_challenge_does_and_the_other_reading_stands_beside():
    report = evaluate_scores(tied(), bootstrap=20)
    assert (report.overall.eer, report.other_ties.overall) == (0.6, pytest.approx(0.4))
    assert report.by_attack["A01"].eer == 0.55
    assert report.by_attack["A02"].eer == 0.0
    assert report.other_ties.by_attack == {"A01": pytest.approx(0.425)}
    assert report.other_ties.by_codec == {"x": pytest.approx(0.425)}
    written = report.as_dict()
    assert (written["ties"], written["other_ties"]["ties"]) == ("asvspoof5", "step")
    assert written["other_ties"]["overall"] == pytest.approx(0.4)


def test_equal_scores_can_be_taken_together_with_their_interval():
    report = evaluate_scores(tied(), bootstrap=50, ties="step")
    assert report.overall == measure(TIED[REAL], TIED[~REAL], bootstrap=50, ties="step")
    assert report.other_ties.ties == "asvspoof5"
    assert report.other_ties.overall == 0.6


def test_scores_without_ties_have_one_reading():
    report = evaluate_scores(joined(attack=("-", "-", "-", "A01", "A02", "A02")), bootstrap=20)
    assert report.other_ties.overall is None
    assert report.other_ties.by_attack == {}
