"""Plots of an evaluation: their curves, what they draw, and where they may be written."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from molex_adapt.errors import DataError, RecipeError
from molex_adapt.evaluation import evaluate_scores
from molex_adapt.metrics import ASVSPOOF5, act_dcf, curves_of, min_dcf
from molex_adapt.metrics.evaluation_curves import bayes_error, reliability
from molex_adapt.plots import check_plots_folder, write_plots
from molex_adapt.plots.evaluation_charts import evaluation_plots
from molex_adapt.scorefile import Joined


def joined(attacks=2, each=40):
    rng = np.random.default_rng(5)
    real = np.arange(each * (attacks + 1)) < each
    names = ["-"] * each + [f"A{at:02}" for at in range(attacks) for _ in range(each)]
    scores = np.where(real, 2.0, -2.0) + rng.normal(0, 1.8, real.size)
    return Joined(tuple(map(str, range(real.size))), scores, real, {"attack": tuple(names)})


@pytest.fixture(scope="module")
def report():
    return evaluate_scores(joined(), bootstrap=5, curves=True)


def test_the_bayes_error_at_the_prior_of_asvspoof5_is_its_dcf():
    given = joined()
    real, fake = given.scores[given.is_bona_fide], given.scores[~given.is_bona_fide]
    ((_, actual, least),) = bayes_error(real, fake, np.array([-ASVSPOOF5.bayes_threshold]))
    unit = ASVSPOOF5.default_cost / (ASVSPOOF5.miss_weight + ASVSPOOF5.false_alarm_weight)
    assert actual == pytest.approx(unit * act_dcf(real, fake))
    assert least == pytest.approx(unit * min_dcf(real, fake))


def test_scores_that_are_log_likelihood_ratios_lie_on_the_diagonal():
    # Two normal densities with means 1 and -1 and variance 2 / 1: the ratio of x is 2 x / 2 = x.
    rng = np.random.default_rng(0)
    spread = np.sqrt(2.0)
    points = np.array(reliability(rng.normal(1, spread, 60_000), rng.normal(-1, spread, 20_000)))
    middle = points[np.abs(points[:, 0]) < 2]
    assert len(middle) > 20
    assert np.abs(middle[:, 0] - middle[:, 1]).max() < 0.25
    assert (np.diff(points[:, 1]) >= -1e-9).all()


def test_scores_that_hold_no_mixed_step_have_no_reliability():
    assert reliability(np.array([1.0, 2.0]), np.array([-1.0, -2.0])) == []


def test_curves_hold_every_attack_and_all_of_them():
    given = joined()
    curves = curves_of(given.scores, given.is_bona_fide, given.columns["attack"])
    assert list(curves.det) == ["", "A00", "A01"]
    assert (curves.det[""][0], curves.det[""][-1]) == ((1.0, 0.0), (0.0, 1.0))
    assert (sum(curves.bona_fide), sum(curves.spoof)) == (40, 80)


def test_an_attack_of_the_name_all_has_a_curve_of_its_own():
    given = joined()
    attacks = np.where(np.asarray(given.columns["attack"]) == "A01", "all", given.columns["attack"])
    report = evaluate_scores(
        replace(given, columns={**given.columns, "attack": attacks}), bootstrap=2, curves=True
    )
    det = evaluation_plots(report, report.curves)[0]
    assert {row[0] for row in det.rows} == {"all together", "A00", "all"}


@pytest.mark.parametrize("size", [0.0, 1e300])
def test_scores_without_spread_and_absurd_ones_can_be_drawn(size):
    real = np.arange(24) < 12
    extreme = Joined(tuple(map(str, range(24))), np.where(real, size, -size), real, {})
    report = evaluate_scores(extreme, bootstrap=2, curves=True)
    for plot in evaluation_plots(report, report.curves):
        assert "NaN" not in json.dumps(plot.chart.to_dict()) + json.dumps(plot.rows)


def test_each_plot_is_a_picture_twice_and_its_numbers(report, tmp_path, monkeypatch):
    out = tmp_path / "new" / "plots"
    write_plots(report, out)
    for name in ("det", "calibration", "reliability", "scores"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text()
    with (out / "det.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["false_alarm"]), float(row["miss"])) for row in rows if row["attack"] == "A01"] == (
        report.curves.det["A01"]
    )
    assert {"all", "A00"} <= {row["attack"] for row in rows}
    assert "Detection error trade-off" in (out / "det.svg").read_text()
    monkeypatch.setattr("molex_adapt.plots.files.save_picture", lambda *_, **__: None)
    (out / ".staging-0123").touch()  # of a kill
    write_plots(report, out)  # gives way to its like


def test_of_many_attacks_the_hardest_are_drawn_and_that_is_said():
    report = evaluate_scores(joined(attacks=9, each=12), bootstrap=2, curves=True)
    det = evaluation_plots(report, report.curves)[0]
    text = json.dumps(det.chart.to_dict())
    assert "(hardest 7 of 9)" in text
    easiest = min(report.by_attack, key=lambda name: report.by_attack[name].eer)
    assert f'"{easiest}  ' not in text
    assert easiest in {row[0] for row in det.rows}


def test_other_files_are_left_alone(report, tmp_path):
    (tmp_path / "thesis.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="holds thesis.png"):
        write_plots(report, tmp_path)
    with pytest.raises(DataError, match="out holds .*scores.csv, which is read"):
        check_plots_folder(tmp_path / "out", [tmp_path / "out" / "scores.csv"])
    check_plots_folder(tmp_path / "out", [tmp_path / "scores.csv"])
    with pytest.raises(DataError, match="kept no curves"):
        write_plots(evaluate_scores(joined(), bootstrap=2), tmp_path / "out")


def test_what_is_not_installed_is_said_with_the_option(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"altair and vl_convert.*or leave out --plots"):
        check_plots_folder(tmp_path / "out")


def test_the_outermost_bins_of_a_histogram_are_as_wide_as_the_others(report):
    curves = report.curves
    scores = next(plot for plot in evaluation_plots(report, curves) if plot.name == "scores")
    drawn = scores.chart.to_dict()["layer"][0]["data"]["values"]
    own = [row for row in drawn if row["kind"] == "bona fide"]
    assert (own[0]["score"], own[-1]["score"]) == (curves.edges[0], curves.edges[-1])
    assert (own[0]["density"], own[-1]["density"]) == (own[1]["density"], own[-2]["density"])
