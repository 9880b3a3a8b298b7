"""An expert's gain is what a development split says of other voices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from molex_adapt.calibration import Calibration
from molex_adapt.features import logits_of
from molex_adapt.train.gain import Gain, clustered_mean, gain_of, own_losses


def is_certain(fell, bona_fide, units):
    return Gain(*clustered_mean(fell, bona_fide, units), len(set(units)), "voices").is_certain


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
    gain = gain_of(np.full(len(development), 0.25), development, voices)
    assert str(gain) == (
        "on the development split its training brought nothing certain: "
        f"0.250 nats [+0.250, +0.250] over {counted}"
    )
    assert gain.is_certain


def test_unknown_voices_count_one_by_one(features_of):
    development = features_of(8)
    some = dict.fromkeys(sorted(set(development.sources))[:4], "a")
    assert gain_of(np.zeros(16), development, some).count == 5
    assert gain_of(np.zeros(16), development, {}).count == 8


def test_what_only_damps_scores_brings_nothing(detector_of, features_of, tiny_recipe):
    """By the detector's own calibration the loss would fall: its scores claim too much."""
    detector, clips = detector_of(tiny_recipe(), "world"), features_of(12)
    scores, real = logits_of(detector, clips), clips.bona_fide
    if scores[real].mean() < scores[~real].mean():
        clips = replace(clips, bona_fide=~real)
    detector.calibration = Calibration(30.0, 0.0)
    before = own_losses(detector, clips)
    detector.calibration = Calibration(0.3, 1.0)
    np.testing.assert_allclose(own_losses(detector, clips), before, atol=1e-6)
    assert 0 < before.mean() < np.log(2)
    turned = replace(clips, bona_fide=~clips.bona_fide)  # scores in the wrong order tell nothing
    np.testing.assert_allclose(own_losses(detector, turned), np.log(2))
