"""What may be said of a recording by its score."""

from __future__ import annotations

import math

import pytest

from molex_adapt.decision import DecisionRule
from molex_adapt.errors import DataError


def test_the_probability_is_bayes_rule_at_the_stated_prior():
    for prior in (0.001, 0.5, 0.9):
        for score in (-30.0, -1.0, 0.0, 2.5, 800.0):
            likelihood = math.exp(min(score, 700))
            expected = prior * likelihood / (prior * likelihood + 1 - prior)
            assert DecisionRule(0.0, prior).probability(score) == pytest.approx(expected, abs=1e-12)


def test_at_the_edge_of_the_band_the_error_is_the_stated_rate():
    rule = DecisionRule(-1.5, error=0.2)
    edge = rule.threshold + rule.band
    assert 1 / (1 + math.exp(edge - rule.threshold)) == pytest.approx(0.2)
    assert rule.outcome(edge + 1e-9) == "bona_fide"
    assert rule.outcome(edge - 1e-9) == rule.outcome(rule.threshold - rule.band + 1e-9) == "cannot_tell"
    assert rule.outcome(rule.threshold - rule.band - 1e-9) == "spoof"


def test_the_prior_moves_probabilities_and_no_decision():
    outcomes = {DecisionRule(0.3, prior).outcome(score) for prior in (0.01, 0.99) for score in (5.0, 6.0)}
    assert outcomes == {"bona_fide"}


@pytest.mark.parametrize("error", [None, 0.5])
def test_everything_is_decided_on_request(error):
    rule = DecisionRule(1.0, error=error)
    assert [rule.outcome(score) for score in (1.0, 0.999)] == ["bona_fide", "spoof"]


def test_outside_what_was_learnt_nothing_is_told_unless_asked_for():
    assert DecisionRule(0.0).outcome(20.0, outside=True) == "cannot_tell"
    assert DecisionRule(0.0, error=None).outcome(20.0, outside=True) == "bona_fide"
    assert DecisionRule(None).outcome(20.0) is None


@pytest.mark.parametrize(
    "wrong", [{"prior": 0.0}, {"prior": 1.0}, {"prior": math.nan}, {"error": 0.0}, {"error": 0.6}]
)
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(DataError, match="prior of|rate of error of"):
        DecisionRule(0.0, **wrong)
