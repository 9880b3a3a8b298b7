from __future__ import annotations

import subprocess
import sys

import pytest

from molex_adapt.registry import Store


def test_list_prints_the_contract(run, registry):
    ran = run("list", "--registry", registry, "--json")
    assert ran.status == 0
    assert ran.json["base"] == {"id": "tiny/base", "revision": "0123456789abcdef", "sha256": "ab" * 32}
    assert ran.json["generation"] == 2
    assert [set(item) for item in ran.json["experts"]] == [{"name", "domain", "rank", "sha256"}] * 2
    assert [item["name"] for item in ran.json["experts"]] == ["world", "codec_x"]
    text = run("list", "--registry", registry).out
    assert "1.2 %" in text
    assert "generation 2" in text


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

    back = run("rollback", "--registry", registry, "--json")
    assert back.json == {"generation": 1, "before": 2, "experts": ["world"]}
    run("rollback", 2, "--registry", registry)
    assert "2 *" in run("history", "--registry", registry).out

    out = run("remove", "world", "--registry", registry, "--json")
    assert (out.status, out.json["generation"], out.json["removed"]) == (0, 3, "world")
    assert [item.name for item in Store.open(registry).experts()] == ["codec_x"]
    assert run("rollback", 9, "--registry", registry).status == 1


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
    "arguments", [["--help"], ["list"], ["show"], ["history"], ["verify"], ["add-expert", "--help"]]
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
