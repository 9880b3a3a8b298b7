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
