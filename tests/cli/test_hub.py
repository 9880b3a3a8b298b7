"""push, pull and outdated as commands; what they do with a hub is tested in tests/hub."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from molex_adapt.registry import Store
from molex_adapt.reports import PullReport


def test_a_dry_run_lists_files_and_sizes(run, registry):
    ran = run("push", "codec_x", "lab/codec_x", "--dry-run", "--registry", registry)
    assert ran.status == 0
    assert "would go to lab/codec_x" in ran.out
    for name in (
        "adapter_config.json",
        "adapter_model.safetensors",
        "expert.yaml",
        "router.safetensors",
        "README.md",
    ):
        assert name in ran.out
    assert "no exemplars were kept" in ran.err
    machine = run("push", "codec_x", "lab/codec_x", "--dry-run", "--registry", registry, "--json").json
    assert (machine["repository"], machine["commit"], machine["dry_run"]) == ("lab/codec_x", None, True)
    assert machine["bytes"] == sum(item["bytes"] for item in machine["files"])
    whole = run("push", "--mixture", "lab/mixture", "--dry-run", "--registry", registry, "--json").json
    assert "experts/world/adapter_model.safetensors" in {item["path"] for item in whole["files"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["push", "codec_x"],
        ["push", "codec_x", "lab/codec_x", "--mixture"],
        ["push"],
        ["pull"],
        ["pull", "lab/mixture", "--mixture", "--as", "name"],
        ["pull", "lab/mixture", "--mixture", "--assume-base"],
    ],
)
def test_wrong_usage(run, registry, arguments):
    assert run(*arguments, "--registry", registry).status == 2


def test_what_is_no_repository(run, registry):
    ran = run("push", "codec_x", "codec_x", "--dry-run", "--registry", registry)
    assert (ran.status, ran.out) == (1, "")
    assert "expected ORG/REPO" in ran.err
    ran = run("push", "codec_x", "lab/x", "--token-file", registry / "nothing", "--registry", registry)
    assert ran.status == 1
    assert "cannot be read" in ran.err


def test_offline_is_said(run, registry):
    """Tests run with HF_HUB_OFFLINE=1: so this is what a user without a network sees first."""
    ran = run("push", "codec_x", "lab/codec_x", "--registry", registry)
    assert ran.status == 1
    assert "HF_HUB_OFFLINE is set" in ran.err
    assert "Unset it" in ran.err


def pulled(comparison, activated=True):
    return PullReport(
        before=comparison.before,
        after=comparison.after,
        change=comparison.change,
        novel=comparison.novel,
        expert="codec_x",
        repository="lab/codec_x",
        commit="0123456789abcdef" * 2 + "01234567",
        generation=3,
        activated=activated,
        rows="carried",
        remarks=["its router rows are those it was trained with"],
        refused=[] if activated else ["world: EER rose by 9.0 points"],
        not_measured=["griffin_lim"],
    )


def test_pull_prints_the_contract(run, api, registry):
    api.answers["pull"] = pulled(api.answers["add_expert"])
    ran = run("pull", "lab/codec_x@v2", "--as", "mine", "--skip-pickled", "--registry", registry, "--json")
    assert ran.status == 0
    assert set(ran.json) >= {
        "expert",
        "repository",
        "commit",
        "generation",
        "activated",
        "rows",
        "before",
        "after",
    }
    asked = api.last("pull")
    assert asked["arguments"] == ("lab/codec_x@v2",)
    assert (asked["name"], asked["skip_pickled"], asked["assume_base"]) == ("mine", True, False)
    text = run("pull", "lab/codec_x", "--registry", registry)
    assert "generation 3 is active" in " ".join(text.out.split())
    assert "3.1 (1.1–5.1)" in text.out
    assert "its router rows" in text.err


def test_a_refused_pull_is_status_1(run, api, registry):
    api.answers["pull"] = pulled(api.answers["add_expert"], activated=False)
    ran = run("pull", "lab/codec_x", "--registry", registry)
    assert ran.status == 1
    assert "molex-adapt rollback 3" in " ".join(ran.out.split())
    assert "world: EER rose by 9.0 points" in ran.out


@pytest.mark.parametrize("measured", [True, False])
def test_what_a_pull_did_not_measure_is_said(run, api, registry, measured):
    report = pulled(api.answers["add_expert"])
    api.answers["pull"] = report if measured else replace(report, before={}, after={}, change={})
    ran = " ".join(run("pull", "lab/codec_x", "--registry", registry).out.split())
    assert "Not measured, no recordings kept: griffin_lim. The threshold was not checked there either" in ran


def test_nothing_was_pulled(run, registry):
    assert run("outdated", "--registry", registry, "--json").json == {"outdated": 0, "pulled": []}
    assert "Nothing" in run("outdated", "--registry", registry).out


def test_show_says_where_an_expert_is_from(run, registry):
    assert Store.open(registry).expert("world").origin is None
    assert "pulled from" in run("show", "world", "--registry", registry).out


@pytest.mark.parametrize(
    "arguments",
    [["push", "codec_x", "lab/codec_x", "--dry-run", "--quiet", "--json"], ["outdated", "--json"]],
)
def test_pushing_loads_no_model(registry, arguments):
    code = (
        "import sys, molex_adapt.cli.app as cli\n"
        "try:\n    cli.main(sys.argv[1:])\n"
        "except SystemExit as leaving:\n"
        "    heavy = [name for name in ('torch', 'transformers', 'peft', 'scipy') if name in sys.modules]\n"
        "    sys.exit(leaving.code or ' '.join(heavy) or 0)\n"
    )
    command = [sys.executable, "-c", code, *arguments, "--registry", str(registry)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)
