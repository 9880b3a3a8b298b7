"""An expert's gain is what a development split says of other voices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from molex_adapt.calibration import Calibration
from molex_adapt.features import logits_of
from molex_adapt.reports import Gain
from molex_adapt.train.gain import Told, clustered_mean, gain_of, told_of


def told(losses, eer=0.5):
    return Told(np.asarray(losses), eer)


def is_certain(fell, bona_fide, units):
    return Gain(*clustered_mean(fell, bona_fide, units), len(set(units)), "voices", (0.2, 0.1)).is_certain


def test_a_gain_is_certain():
    real, each = np.arange(40) < 30, [str(at) for at in range(40)]
    swing = np.tile([1.0, -1.0], 20)  # variance 1 in either class: a standard error of the mean of 0.185
    assert is_certain(np.where(real, 0.76, 0.0) + swing, real, each)  # times 2.023, Student's for 39
    assert not is_certain(np.where(real, 0.74, 0.0) + swing, real, each)
    assert is_certain(
        np.where(real, 0.0, 0.76) + swing, real, each
    )  # few recordings of a class weigh as many
    assert not is_certain(np.where(real, 1.0, -1.0), real, each)
    assert not is_certain(np.zeros(40), real, each)
    assert is_certain(np.full(40, 1e-6), real, each)


def test_the_mean_is_of_both_classes():
    real = np.arange(40) < 30
    assert clustered_mean(np.where(real, 3.0, 1.0), real, [str(at) for at in range(40)]) == (2.0, 0.0)


@pytest.mark.parametrize(("fell", "certain"), [(1.1, False), (1.3, True)])
def test_a_gain_is_certain_over_voices(fell, certain):
    """Two voices gain and two lose, however many recordings each has; the t quantile of 3 degrees is 3.18."""
    voices = [name for name in "abcd" for _ in range(100)]
    real = np.tile([True, False], 200)
    swing = np.repeat([0.7, -0.7, 0.7, -0.7], 100)
    assert is_certain(fell + swing, real, voices) == certain
    assert is_certain(fell + swing, real, [str(at) for at in range(400)])


def test_of_one_unit_nothing_is_certain():
    mean, error = clustered_mean(np.ones(4), np.array([True, True, False, False]), ["a"] * 4)
    assert mean == 1.0 and error == math.inf


@pytest.mark.parametrize(("known", "counted"), [(3, "8 recordings"), (4, "4 voices")])
def test_voices_are_counted_where_there_are_enough(features_of, known, counted):
    development = features_of(8)
    voices = {source: f"voice {at % known}" for at, source in enumerate(sorted(set(development.sources)))}
    without, with_it = told(np.full(len(development), 0.75), 0.2), told(np.full(len(development), 0.5), 0.1)
    gain = gain_of(without, with_it, development, voices)
    assert str(gain) == f"0.250 nats [+0.250, +0.250] over {counted}"
    assert gain.is_certain and gain.eer == (0.2, 0.1)


def test_a_gain_as_json_has_no_end_where_nothing_is_known():
    gain = Gain(0.25, math.inf, 1, "voices", (0.2, 0.1))
    assert gain.as_dict() == {
        "nats": 0.25,
        "ci": [None, None],
        "count": 1,
        "units": "voices",
        "eer": [0.2, 0.1],
    }
    assert Gain(0.25, 0.125, 4, "voices", (0.2, 0.1)).as_dict()["ci"] == [0.125, 0.375]


def test_unknown_voices_count_one_by_one(features_of):
    development = features_of(8)
    some = dict.fromkeys(sorted(set(development.sources))[:4], "a")
    nothing = told(np.zeros(16))
    assert gain_of(nothing, nothing, development, some).count == 5
    assert gain_of(nothing, nothing, development, {}).count == 8


def test_what_only_damps_scores_brings_nothing(detector_of, features_of, tiny_recipe):
    """By the detector's own calibration the loss would fall: its scores claim too much."""
    detector, clips = detector_of(tiny_recipe(), "world"), features_of(12)
    scores, real = logits_of(detector, clips), clips.bona_fide
    if scores[real].mean() < scores[~real].mean():
        clips = replace(clips, bona_fide=~real)
    detector.calibration = Calibration(30.0, 0.0)
    before = told_of(detector, clips)
    detector.calibration = Calibration(0.3, 1.0)
    after = told_of(detector, clips)
    np.testing.assert_allclose(after.losses, before.losses, atol=1e-6)
    assert 0 < before.losses.mean() < np.log(2)
    assert 0 < before.eer == after.eer < 0.5
    turned = replace(clips, bona_fide=~clips.bona_fide)  # scores in the wrong order tell nothing
    upside_down = told_of(detector, turned)
    np.testing.assert_allclose(upside_down.losses, np.log(2))
    assert upside_down.eer > 0.5
