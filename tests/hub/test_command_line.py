"""The commands as a user types them, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests import forking

pytestmark = pytest.mark.hub


@pytest.fixture
def molex(hub, tmp_path):
    """Run molex-adapt against the hub; status, stdout, stderr."""

    def run(*arguments, **environment):
        environment = hub.environment(tmp_path / "home") | {"COLUMNS": "100"} | environment
        return forking.forked(forking.molex(*arguments), tmp_path, environment)

    return run


def test_a_process_that_only_its_environment_tells_of_the_hub(hub, lab, tmp_path):
    name = hub.name("buzz")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "molex_adapt",
            "push",
            "buzz",
            name,
            "--registry",
            lab("ours").store.path,
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=hub.environment(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"]


def test_push_pull_and_outdated(hub, lab, molex, tmp_path):
    ours, theirs, name = lab("ours").store.path, lab("theirs").store.path, hub.name("buzz")
    (tmp_path / "token").write_text(hub.token)
    status, out, err = molex(
        "push", "buzz", name, "--registry", ours, "--token-file", tmp_path / "token", "--json", HF_TOKEN=""
    )
    assert status == 0, err
    pushed = json.loads(out)
    assert pushed["changed"]
    assert "upload" in err
    assert hub.token not in out + err

    status, out, err = molex("pull", name, "--registry", theirs, "--device", "cpu", "--json")
    assert status == 0, err
    pulled = json.loads(out)
    assert (pulled["expert"], pulled["commit"], pulled["activated"]) == ("buzz", pushed["commit"], True)
    assert set(pulled["after"]) == {"tick", "buzz"}
    assert "download" in err
    assert "another head" in err

    status, out, _ = molex("outdated", "--registry", theirs, "--json")
    assert (status, json.loads(out)["outdated"]) == (0, 0)
    hub.upload(name, {"README.md": b"edited there"})
    status, out, err = molex("outdated", "--registry", theirs, "--json")
    assert (json.loads(out)["outdated"], json.loads(out)["pulled"][0]["another_expert"]) == (1, False)
    assert "there is nothing to pull" in err and "--as" not in err
    status, out, _ = molex("show", "buzz", "--registry", theirs)
    assert f"{name} at" in out

    status, out, err = molex("pull", f"{name}@nowhere", "--registry", theirs, "--as", "other")
    assert (status, out) == (1, "")
    assert "no revision 'nowhere'" in " ".join(err.split())
    assert "Traceback" not in err


def test_a_mixture(hub, lab, molex, tmp_path):
    ours, name = lab("ours").store.path, hub.name("mixture")
    assert molex("push", "--mixture", name, "--registry", ours, "--quiet")[0] == 0
    status, out, err = molex("pull", "--mixture", name, "--registry", tmp_path / "a folder" / "é", "--json")
    assert status == 0, err
    assert json.loads(out)["experts"] == ["buzz", "hum"]
    assert molex("verify", "--registry", tmp_path / "a folder" / "é")[0] == 0
