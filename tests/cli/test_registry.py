from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from molex_adapt.registry import Store


def test_list_prints_the_contract(run, registry):
    ran = run("list", "--registry", registry, "--json")
    assert ran.status == 0
    stated = {"id": "tiny/base", "revision": "0123456789abcdef", "sha256": "ab" * 32}
    assert ran.json["base"] == stated | {"published": None}
    assert ran.json["generation"] == 2
    keys = {"name", "domain", "rank", "sha256", "withdrawn", "pulled"}
    assert [set(item) for item in ran.json["experts"]] == [keys] * 2
    assert [(item["withdrawn"], item["pulled"]) for item in ran.json["experts"]] == [(False, False)] * 2
    assert [item["name"] for item in ran.json["experts"]] == ["world", "codec_x"]
    text = run("list", "--registry", registry).out
    assert "1.2 %" in text
    assert "generation 2" in text


@pytest.mark.parametrize("said", [True, False])
def test_list_and_show_mark_what_is_withdrawn_or_was_pulled(run, registry, said):
    path = registry / "generations" / "2" / "generation.yaml"
    record = yaml.safe_load(path.read_text())
    marks = (
        {"withdrawn": ["codec_x"], "pulled": ["world", "codec_x"]}
        if said
        else {"withdrawn": None, "pulled": None}
    )
    path.write_text(yaml.safe_dump(record | marks))
    world, codec_x = run("list", "--registry", registry, "--json").json["experts"]
    expected = [(False, True), (True, True)] if said else [(None, None)] * 2
    assert [(item["withdrawn"], item["pulled"]) for item in (world, codec_x)] == expected
    text = run("list", "--registry", registry).out
    assert ("withdrawn, pulled" in text) == ("state" in text) == said
    assert ("its gates are closed" in run("show", "codec_x", "--registry", registry).out) == said
    assert run("show", "world", "--registry", registry, "--json").json["withdrawn"] is False


def test_show_an_expert_and_a_generation(run, registry):
    expert = run("show", "codec_x", "--registry", registry)
    assert "rank 2, alpha 4" in expert.out
    assert "train: 6 bonafide, 6 spoof" in expert.out
    assert run("show", "codec_x", "--registry", registry, "--json").json["seed"] == 3
    generation = run("show", "--registry", registry, "--generation", 1)
    assert "+0.250 nats" in generation.out
    assert "codec_x" not in generation.out
    unknown = run("show", "nobody", "--registry", registry)
    assert unknown.status == 1
    assert "'nobody'" in unknown.err


def test_history_rollback_and_remove(run, registry):
    found = run("history", "--registry", registry, "--json").json
    assert (found["active"], [item["active"] for item in found["generations"]]) == (2, [False, True])
    assert found["generations"][1]["parent"] == 1
    assert found["generations"][0]["changes"] == {}

    back = run("rollback", "--registry", registry, "--json")
    assert back.json == {"generation": 1, "before": 2, "experts": ["world"]}
    run("rollback", 2, "--registry", registry)
    assert "2 *" in run("history", "--registry", registry).out

    out = run("remove", "world", "--registry", registry, "--json")
    assert (out.status, out.json["generation"], out.json["removed"]) == (0, 3, "world")
    assert [item.name for item in Store.open(registry).experts()] == ["codec_x"]
    assert run("rollback", 9, "--registry", registry).status == 1


def test_purge_names_what_goes_too(run, registry):
    run("remove", "codec_x", "--registry", registry)
    ran = run("remove", "world", "--purge", "--registry", registry)
    assert ran.out == "world, codec_x are deleted; active generation: 4\n"
    assert "expert codec_x was deleted too" in ran.err
    assert run("show", "--registry", registry, "--json").json["command"] == "molex-adapt remove world --purge"
    assert run("verify", "--registry", registry).status == 0


def test_history_by_domain(run, registry):
    plain = run("history", "--registry", registry, "--json").json
    found = run("history", "--domains", "--registry", registry, "--json")
    assert (found.status, found.err) == (0, "")
    assert {key: value for key, value in found.json.items() if key != "forgetting"} == plain
    forgetting = found.json["forgetting"]
    assert [step["added"] for step in forgetting["steps"]] == [["world"], ["codec_x"]]
    assert {name: item["eer"] for name, item in forgetting["domains"].items()} == {
        "world": [0.02, 0.02],
        "codec_x": [None, 0.02],
    }
    assert (forgetting["mean"], forgetting["worst"]) == (0.0, {"domain": "world", "forgetting": 0.0})
    text = run("history", "--domains", "--registry", registry).out
    assert "world 2.0* (1) 2.0* (1) 2.0 (0.0–4.0) +0.0* -" in " ".join(text.split())
    assert "1 +world" in text and "2 +codec_x" in text and "other recordings" in text


def test_history_by_domain_fits_the_screen(run, registry, learn):
    store = Store.open(registry)
    domains = [f"domain_number_{number}" for number in range(10)]
    for number in range(10):
        learn(store, domains[number], dict.fromkeys(["world", "codec_x", *domains[: number + 1]], 0.5))
    lines = run("history", "--domains", "--registry", registry).out.splitlines()
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if line.startswith(" domain"))
    assert header.split() == ["domain", *map(str, range(1, 13))]
    assert [line.split() for line in lines if line.startswith(" domain_number_9 ")] == [
        ["domain_number_9", *["-"] * 11, "50.0"],
        ["domain_number_9", "50.0", "(12)", "-", "50.0", "(48.0–52.0)", "-", "-"],
    ]
    learn(store, "last", {"world": 0.1})
    text = run("history", "--domains", "--registry", registry).out
    assert "the first 1: see --json" in text and "+last" in text and "4 +domain_number_1" in text


def test_history_by_domain_says_what_it_cannot_know(run, registry, tmp_path):
    run("remove", "world", "--registry", registry)
    ran = run("history", "--domains", "--registry", registry)
    assert "removed" in ran.out and "3 -world" in ran.out
    assert "generation 3 (remove) measured nothing" in ran.err
    run("remove", "world", "--purge", "--registry", registry)
    assert (
        "generation 2 is gone with what it measured"
        in run("history", "--domains", "--registry", registry).err
    )
    store = Store.create(tmp_path / "empty", Store.open(registry).base)
    for options in ([], ["--json"]):
        ran = run("history", "--domains", "--registry", store.path, *options)
        assert (ran.status, ran.out) == (1, "")
        assert "no expert was trained yet" in ran.err


def test_verify(run, registry):
    assert run("verify", "--registry", registry, "--json").json == {"ok": True, "problems": []}
    weights = registry / "experts" / "world" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    broken = run("verify", "--registry", registry, "--json")
    assert (broken.status, broken.json["ok"]) == (1, False)
    assert "world" in " ".join(broken.json["problems"])
    assert "problem" in run("verify", "--registry", registry).out


def test_a_missing_registry_says_what_to_do(run, tmp_path):
    ran = run("list", "--registry", tmp_path / "nothing", "--json")
    assert (ran.status, ran.out) == (1, "")
    assert "molex-adapt init" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["show"],
        ["history"],
        ["history", "--domains"],
        ["verify"],
        ["add-expert", "--help"],
    ],
)
def test_reading_the_registry_loads_no_model(registry, arguments):
    code = (
        "import sys, molex_adapt.cli.app as cli\n"
        "try:\n    cli.main(sys.argv[1:])\n"
        "except SystemExit as leaving:\n"
        "    heavy = [name for name in ('torch', 'transformers', 'peft', 'scipy') if name in sys.modules]\n"
        "    sys.exit(leaving.code or ' '.join(heavy) or 0)\n"
    )
    where = [] if "--help" in arguments else ["--registry", str(registry)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *where], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
