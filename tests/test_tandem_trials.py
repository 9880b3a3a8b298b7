"""A countermeasure's scores beside trials: which of them count, and how often."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt import metrics
from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_scores
from molex_adapt.scorefile import Joined
from molex_adapt.tandem import evaluate_tandem
from molex_adapt.trialfile import Trials

KINDS = np.array(["target", "target", "nontarget", "nontarget", "spoof", "spoof"])
ASV = np.array([3.0, 0.5, -2.0, 1.0, 2.0, -1.0])
FILES = ("a", "b", "a", "b", "c", "d")
SASV = ASV - 0.1


def joined(names=("x/a.flac", "x/b.flac", "x/c.flac", "x/d.flac")):
    return Joined(names, np.array([1.5, -0.5, 1.0, 0.0]), np.array([True, True, False, False]), {})


def t_dcf(real, fake, formula):
    weights = metrics.tandem_weights(metrics.asv_rates(ASV[:2], ASV[2:4], ASV[4:]), formula)
    return metrics.min_t_dcf(real, fake, weights)


def test_trials_without_names_meet_all_recordings():
    found, remarks = evaluate_tandem(joined(), Trials(KINDS, ASV, None), bootstrap=9)
    assert found.t_dcf_2021.value == t_dcf([1.5, -0.5], [1.0, 0.0], "2021")
    assert found.t_dcf_2019.value == t_dcf([1.5, -0.5], [1.0, 0.0], "2019")
    assert found.t_eer == metrics.t_eer([1.5, -0.5], [1.0, 0.0], ASV[:2], ASV[2:4], ASV[4:])
    assert (found.a_dcf, remarks, found.target) == (None, [], 2)


def test_in_the_form_of_asvspoof5_a_recording_counts_for_each_of_its_trials():
    files = ("a", "a", "a", "b", "c", "d")
    found, _ = evaluate_tandem(joined(), Trials(KINDS, ASV, SASV, files, by_trial=True), bootstrap=9)
    assert found.t_dcf_2021.value == t_dcf([1.5, 1.5, 1.5, -0.5], [1.0, 0.0], "2021")
    assert found.t_dcf_2021.value != t_dcf([1.5, -0.5], [1.0, 0.0], "2021")
    assert found.a_dcf.value == metrics.a_dcf(SASV[:2], SASV[2:4], SASV[4:])
    assert found.as_dict()["a_dcf"]["value"] == found.a_dcf.value


def test_trials_of_recordings_that_were_not_scored_are_left_out_and_counted():
    more = Trials(
        np.append(KINDS, "spoof"), np.append(ASV, 9.0), None, (*FILES, "progress_1"), origin="asv.txt"
    )
    found, remarks = evaluate_tandem(joined(), more, bootstrap=9)
    assert found.asv == metrics.asv_rates(ASV[:2], ASV[2:4], ASV[4:])
    assert remarks == ["trials of recordings that were not scored are left out: 1 of 7"]


def test_scores_of_a_joint_system_alone_give_its_a_dcf_alone():
    found, _ = evaluate_tandem(joined(), Trials(KINDS, None, SASV, FILES), bootstrap=9)
    assert (found.asv, found.t_eer, found.t_dcf_2019) == (None, None, None)
    assert found.a_dcf.value == metrics.a_dcf(SASV[:2], SASV[2:4], SASV[4:])


def test_an_asv_system_without_a_t_dcf_is_remarked_on():
    deaf = np.array([3.0, 2.0, -2.0, -3.0, -9.0, -9.0])  # no spoof deceives it
    found, remarks = evaluate_tandem(joined(), Trials(KINDS, deaf, None), bootstrap=9)
    assert found.t_dcf_2019 is None
    assert "the t-DCF does not exist for this ASV system" in remarks[0]


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("system", ["asv", "sasv"])
def test_a_system_that_is_upside_down_is_remarked_on(system, turned):
    rng = np.random.default_rng(5)
    kinds = np.repeat(["target", "nontarget", "spoof"], 15)
    scores = turned * rng.normal(np.repeat([2.0, -2.0, 1.0], 15))
    given = {"asv": None, "sasv": None, system: scores}
    found, remarks = evaluate_tandem(joined(), Trials(kinds, **given, origin="asv.txt"), bootstrap=9)
    said = [line for line in remarks if line.startswith(f"asv.txt: {system.upper()} accepts nontargets")]
    assert len(said) == (turned < 0)
    assert all("upside down" in line for line in said)
    assert (found.asv is None) == (system == "sasv")


@pytest.mark.parametrize(
    ("trials", "says"),
    [
        (
            Trials(KINDS, ASV, None, tuple("uvwxyz"), origin="asv.txt"),
            "asv.txt: no target and no nontarget and no spoof",
        ),
        (
            Trials(KINDS, ASV, None, ("a", "c", "b", "b", "c", "d"), origin="asv.txt"),
            "c is of a target trial, but spoofed",
        ),
    ],
)
def test_trials_that_do_not_fit_are_refused(trials, says):
    with pytest.raises(DataError, match=says):
        evaluate_tandem(joined(), trials, bootstrap=9)


def test_a_report_holds_the_figures_and_their_remarks():
    report = evaluate_scores(joined(), bootstrap=9, trials=Trials(KINDS, ASV, None))
    assert report.as_dict()["tandem"]["asv"]["miss"] == report.tandem.asv.miss
    assert report.as_dict()["intervals"] is None  # too few recordings


def test_intervals_of_costs_draw_whole_sources():
    rng = np.random.default_rng(2)
    real = np.arange(60) < 30
    many = Joined(tuple(map(str, range(60))), rng.normal(np.where(real, 1, -1), 1.5), real, {})
    alone = evaluate_scores(many, bootstrap=200).intervals
    sources = [f"s{at % 30 // 10}{at // 30}" for at in range(60)]
    whole = evaluate_scores(many, bootstrap=200, sources=sources).intervals
    assert alone.cllr != whole.cllr
    assert alone == metrics.cost_intervals(many.scores[real], many.scores[~real], bootstrap=200)
