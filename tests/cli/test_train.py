from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molex_adapt.registry import Store
from molex_adapt.reports import Gain

CONTRACT = {"expert", "generation", "activated", "before", "after", "seconds", "failed"}
FIGURES = {"eer", "eer_ci", "min_dcf", "act_dcf", "cllr", "bona_fide", "spoof"}


def test_add_expert_prints_the_contract(run, api):
    ran = run("add-expert", "--domain", "codec_x", "data/", "--json")
    assert ran.status == 0
    assert set(ran.json) >= CONTRACT
    assert set(ran.json["seconds"]) == {"expert", "router", "evaluate"}
    assert set(ran.json["before"]["world"]) == FIGURES
    assert ran.json["change"]["world"] == {"eer": 0.004, "eer_ci": [-0.01, 0.02], "voices": None}
    assert ran.json["drift"]["world"]["miss"] == [0.02, 0.03]
    assert ran.json["failed"] == [{"path": "data/broken.wav", "reason": "too short"}]
    assert "at work" in ran.err


def test_add_expert_shows_before_and_after(run, api):
    ran = run("add-expert", "--domain", "codec_x", "data/")
    assert ran.status == 0
    row = next(line for line in ran.out.splitlines() if line.strip().startswith("codec_x"))
    assert "25.7 (23.7–27.7)" in row
    assert "3.1 (1.1–5.1)" in row
    assert "-22.6 (-28.0 -18.0)" in row
    assert "learnt" in row
    assert "not measured" in ran.out.lower()
    assert "Generation 5 is active" in ran.out
    assert "one recording was left out" in ran.err
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_a_refused_expert_is_status_1_with_its_figures(run, api):
    api.answers["add_expert"] = _refused(api.answers["add_expert"])
    ran = run("add-expert", "--domain", "codec_x", "data/")
    assert ran.status == 1
    assert "Refused: generation 5" in ran.out
    assert "world: EER rose by 9.0 points" in ran.out
    assert "molex-adapt rollback 5" in ran.out
    machine = run("add-expert", "--domain", "codec_x", "data/", "--json")
    assert (machine.status, machine.json["activated"]) == (1, False)


@pytest.mark.parametrize("command", ["train", "add-expert"])
def test_the_readout_alone_may_be_asked_for_and_the_table_says_what_was_not_trained(run, api, command):
    name = command.replace("-", "_")
    run(command, "data/", "--domain", "d")
    assert api.last(name)["readout_only"] is False
    trained = replace(api.answers[name], withdrawn=True)
    for training, words in (
        ({"expert": {"steps": 3}}, "The expert would not help and is withdrawn; the readout has"),
        ({}, "No expert was trained; the readout has learnt the domain"),
    ):
        api.answers[name] = replace(trained, training=training)
        ran = run(command, "data/", "--domain", "d", "--readout-only")
        assert api.last(name)["readout_only"] is True
        assert words in ran.out


def test_what_an_expert_brought_is_said_where_it_is_certain(run, api):
    certain = Gain(0.028, 0.018, 23, "voices", (0.05, 0.041))
    api.answers["add_expert"] = replace(api.answers["add_expert"], gain=certain)
    said = run("add-expert", "--domain", "codec_x", "data/")
    words = " ".join(said.out.split())
    assert "the expert brought 0.028 nats [+0.010, +0.046] over 23 voices on the development split" in words
    assert "whose EER went from 5.0 to 4.1 %" in words
    machine = run("add-expert", "--domain", "codec_x", "data/", "--json")
    assert machine.json["gain"] == {
        "nats": 0.028,
        "ci": [pytest.approx(0.01), pytest.approx(0.046)],
        "count": 23,
        "units": "voices",
        "eer": [0.05, 0.041],
    }
    harmful = replace(api.answers["add_expert"], withdrawn=True, training={"expert": {"steps": 3}})
    api.answers["add_expert"] = harmful
    ran = run("add-expert", "--domain", "codec_x", "data/")
    assert "The expert would do harm elsewhere and is withdrawn; the readout has" in ran.out
    api.answers["add_expert"] = replace(harmful, gain=replace(certain, error=0.03))
    assert "brought" not in run("add-expert", "--domain", "codec_x", "data/").out


@pytest.mark.parametrize("command", ["train", "retrain-router"])
def test_what_the_gate_refuses_is_status_1(run, api, command):
    name = command.replace("-", "_")
    api.answers[name] = _refused(api.answers[name])
    assert run(command, "data/", *(["--domain", "d"] if command == "train" else [])).status == 1


def _refused(report):
    return replace(report, activated=False, refused=["world: EER rose by 9.0 points"])


def test_options_reach_the_library(run, api, registry, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/molex-adapt", "add-expert", "my data"])
    ran = run(
        *(
            "add-expert",
            "data/",
            "--domain",
            "codec_y",
            "--name",
            "y1",
            "--licence",
            "cc-by-4.0",
            "--registry",
            registry,
        ),
        *("--set", "training.batch_size=4", "--device", "cpu", "--seed", 7, "--workers", 1, "-q"),
    )
    assert (ran.status, ran.err) == (0, "")
    asked = api.last("add_expert")
    assert asked["arguments"] == (Path("data"),)
    assert (asked["domain"], asked["name"]) == ("codec_y", "y1")
    assert (asked["run"].seed, asked["run"].device, asked["run"].workers) == (7, "cpu", 1)
    assert asked["registry"] == registry
    assert asked["run"].command == "molex-adapt add-expert 'my data'"
    assert asked["licence"] == "cc-by-4.0"
    assert asked["recipe"].training.batch_size == 4
    assert asked["recipe"].expert.steps == 123  # the registry's own recipe, overridden in one place


def test_without_recipe_options_the_library_decides(run, api):
    run("retrain-router")
    assert api.last("retrain_router")["recipe"] is None
    assert api.last("retrain_router")["arguments"] == ([],)


def test_a_recipe_file_replaces_the_registrys_own(run, api, registry, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("expert: {steps: 5}\n")
    run("train", "data/", "--domain", "d", "--experts", 2, "--recipe", path, "--registry", registry)
    asked = api.last("train")
    assert (asked["recipe"].expert.steps, asked["experts"]) == (5, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "expert.stepz=5"], "did you mean 'steps'"),
        (["--set", "expert.steps"], "key.path=value"),
        (["--recipe", "no-such-recipe"], "There is no shipped recipe 'no-such-recipe'"),
        (["--recipe", "gone.yaml"], "does not exist"),
    ],
)
def test_wrong_recipes_are_explained(run, api, registry, options, expected):
    ran = run("add-expert", "data/", "--domain", "d", "--registry", registry, *options)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert expected in ran.err


def test_init(run, api, tmp_path):
    ran = run("init", "tiny/base", "--registry", tmp_path / "new", "--revision", "v2", "--json")
    assert ran.status == 0
    stated = {"id": "tiny/base", "revision": "0123456789abcdef", "sha256": "ab" * 32}
    assert ran.json["base"] == stated | {"published": None}
    assert (ran.json["generation"], ran.json["experts"]) == (None, [])
    options = {"revision": "v2", "experts": True, "encoder_only": False}
    options |= {"bona_fide": None, "trained_on": [], "licence": None}
    assert api.calls[-1] == ("create", (tmp_path / "new", "tiny/base"), options)
    said = ["--bona-fide-label", "LABEL_1", "--trained-on", "A", "--trained-on", "B", "--licence", "mit"]
    run("init", "x/y", "--registry", tmp_path / "other", *said, "--encoder-only")
    stated = {"bona_fide": "LABEL_1", "trained_on": ["A", "B"], "licence": "mit", "encoder_only": True}
    assert api.calls[-1][2].items() >= stated.items()
    assert Store.open(tmp_path / "new").active is None
    again = run("init", "tiny/base", "--registry", tmp_path / "new")
    assert again.status == 1
    assert again.err.startswith("error: ")


def test_the_environment_names_the_registry(run, api, monkeypatch):
    monkeypatch.setenv("MOLEX_REGISTRY", "elsewhere")
    run("retrain-router")
    assert api.last("retrain_router")["registry"] == Path("elsewhere")


@pytest.mark.parametrize("command", ["train", "add-expert", "retrain-router"])
def test_batches_pass_in_parts_where_that_is_asked_for(run, api, command):
    domain = [] if command == "retrain-router" else ["--domain", "d"]
    for given, most in ((["--micro-batch", 4], 4), ([], None)):
        assert run(command, "data/", *domain, *given).status == 0
        assert api.last(command.replace("-", "_"))["run"].micro_batch == most


@pytest.mark.parametrize("command", ["train", "add-expert", "retrain-router"])
@pytest.mark.parametrize("resume", [True, False])
def test_resuming_is_asked_for(run, api, command, resume):
    domain = [] if command == "retrain-router" else ["--domain", "d"]
    assert run(command, "data/", *domain, *(["--resume"] if resume else [])).status == 0
    assert api.last(command.replace("-", "_"))["run"].resume is resume


@pytest.mark.parametrize(
    ("options", "domain", "experts"),
    [
        (["--domain", "d"], "d", 1),
        (["--domain", "d", "--experts", "3"], "d", 3),
        (["--experts", "per-attack"], None, "per-attack"),
    ],
)
def test_how_many_experts_a_first_mixture_has(run, api, options, domain, experts):
    assert run("train", "data/", *options).status == 0
    asked = api.last("train")
    assert (asked["domain"], asked["experts"]) == (domain, experts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--domain NAME"),
        (["--domain", "d", "--experts", "per-attack"], "leave --domain out"),
        (["--domain", "d", "--experts", "0"], "from 1 to 256, or per-attack"),
        (["--domain", "d", "--experts", "many"], "from 1 to 256, or per-attack"),
    ],
)
def test_domain_and_experts_that_do_not_go_together_are_wrong_usage(run, api, options, said):
    ran = run("train", "data/", *options)
    assert (ran.status, ran.out, api.calls) == (2, "", [])
    assert said in " ".join(ran.err.replace("│", " ").split())


def test_set_threshold_prints_pairs_before_and_after(run, api):
    found = run("set-threshold", "calls/", "--refused", "0.02", "--json").json
    assert api.last("set_threshold")["refused"] == 0.02
    assert found["threshold"] == [0.4318, -1.25]
    assert [item["refused"] for item in found["bona_fide_refused"]] == [3, 0]
    assert [item["rate"] for item in found["voices"]["worst"]] == [1.0, 0.25]
    assert found["accepted"] == {"clone": [0.1, 0.25]}
    assert found["drift"]["world"]["miss"] == [0.02, 0.01]


def test_set_threshold_shows_the_worst_voice_first(run, api):
    ran = run("set-threshold", "calls/")
    assert ran.status == 0
    assert "+0.432 → -1.250" in ran.out
    assert ran.out.index("worst") < ran.out.index("quiet")
    assert "30.0 (10.8–60.3)" in ran.out
    row = next(line for line in ran.out.splitlines() if line.strip().startswith("clone"))
    assert row.split() == ["clone", "10.0", "25.0"]
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_a_voice_that_is_called_all_is_no_total(run, api):
    report = api.answers["set_threshold"]
    api.answers["set_threshold"] = replace(report, voices={"all": report.voices["worst"]})
    ran = run("set-threshold", "calls/")
    rows = [line.split() for line in ran.out.splitlines() if line.strip().startswith("all ")]
    assert [row[:-4] for row in rows] == [["all", "together", "10"], ["all", "4"]]
    assert "more voices" not in ran.out


@pytest.mark.parametrize("share", ["-0.1", "0.5", "much"])
def test_a_share_that_makes_no_sense_is_wrong_usage(run, api, share):
    assert run("set-threshold", "calls/", "--refused", share).status == 2
    assert api.calls == []
