from __future__ import annotations

from dataclasses import replace

import pytest


def test_evaluate_data(run, api):
    ran = run("evaluate", "data/", "--split", "test", "--ties", "step")
    assert (ran.status, api.last("evaluate")["split"], api.last("evaluate")["ties"]) == (0, "test", "step")
    assert "5.00 %" in ran.out
    assert "not measured" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert set(run("evaluate", "data/", "--json").json) >= {"overall", "by_attack"}


def test_attacks_in_conditions_fill_as_many_tables_as_80_columns_ask_for(run, api):
    ran = run("evaluate", "data/")
    lines = ran.out.splitlines()
    assert sum("EER in % by attack and condition" in line for line in lines) == 1
    assert "The same, further conditions" in ran.out
    assert max(map(len, lines)) <= 80 and "…" not in ran.out
    heads = " ".join(line for line in lines if line.split()[:1] == ["attack"])
    assert all(name in heads for name in api.answers["evaluate"].by_condition)
    assert ran.out.count("no bona fide") == 1


def test_refused_bona_fide_speech_has_a_row_per_condition(run, api):
    ran = run("evaluate", "data/")
    after = ran.out.split("Bona fide speech refused at the threshold of +0.30")[1].splitlines()
    assert next(line for line in after if line.split()[:1] == ["g722"]).split()[1:3] == ["50.0", "%"]
    assert next(line for line in after if line.split()[:1] == ["all"]).split()[1:3] == ["25.0", "%"]


def test_the_tables_show_the_conditions_with_the_most_recordings(run, api):
    report = api.answers["evaluate"]
    rates = report.by_condition["g722"]
    many = {f"c{at:02}": replace(rates, spoof=at + 1) for at in range(30)}
    api.answers["evaluate"] = replace(report, by_condition=many, by_attack_and_condition={})
    told = run("evaluate", "data/").out
    assert "c06" in told and "c05" not in told
    assert "6 further conditions" in told


@pytest.mark.parametrize(
    "options", [[], ["--scores", "s.tsv"], ["data/", "--scores", "s.tsv", "--key", "k.tsv"]]
)
def test_evaluate_wants_one_of_two_forms(run, options):
    ran = run("evaluate", *options)
    assert (ran.status, ran.out) == (2, "")
    assert "either DATA" in ran.err


def test_trials_and_curves_reach_the_api(run, api, tmp_path):
    (tmp_path / "asv.txt").write_text("bonafide target 1\nbonafide nontarget 0\nA01 spoof 1\n")
    assert run("evaluate", "data/", "--asv", tmp_path / "asv.txt").status == 0
    assert api.last("evaluate")["trials"].asv.tolist() == [1.0, 0.0, 1.0]
    assert api.last("evaluate")["curves"] is False
