"""What a card will run, small and here: every part runs, and one that fails or hangs costs only itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import analysis, cost, parity, training
from benchmarks.gpu.material import base_from, model_of, tables_of
from benchmarks.gpu.setting import Findings, Setting
from benchmarks.gpu.targets import MOST, judged
from benchmarks.gpu.timing import Candidate, in_turns
from benchmarks.plan import Cell, read_plan
from benchmarks.provenance import machine
from benchmarks.report.found import Found
from benchmarks.report.pages import results_page
from benchmarks.report.readme import with_table
from benchmarks.results import Results, load_results
from benchmarks.standing import faults


@pytest.fixture
def setting() -> Setting:
    return Setting(torch.device("cpu"), True, time.monotonic() + 300)


@pytest.fixture
def found(tmp_path) -> Findings:
    return Findings(tmp_path / "found.json")


def errors(found: Findings) -> list[str]:
    return command._errors(json.loads(found.path.read_text()))


@pytest.mark.slow
def test_costs_of_all_that_targets_name_are_found(setting, found):
    cost.run(setting, found)
    assert errors(found) == []
    card = {"cost": found.values}
    named = {what for what, (part, *_), _ in MOST if part == "cost"}
    assert {row["what"] for row in judged(card)} == named
    assert len(named) > 4


def test_scores_and_states_of_one_device_are_the_same(setting, found):
    parity.run(setting, found)
    assert errors(found) == []
    for what in ("recordings kept", "sounds"):
        rows = found.values["scores"][what]
        assert rows["spread_nats"] > 0
        assert rows["cpu fp32"]["largest_nats"] == 0 < rows["cpu bf16"]["largest_nats"]
    states = found.values["states"]
    assert states["cpu fp32"]["largest_of_blocks"] == 0 < states["cpu bf16"]["largest_of_blocks"] < 0.05


def test_both_ways_of_training_are_timed(setting, found):
    training.run(setting, found)
    assert errors(found) == []
    for precision in ("fp32", "bf16"):
        assert found.values[precision]["ours_over_peft"] > 0


@pytest.mark.slow
def test_an_analysis_sees_the_same_on_both_devices_and_is_timed(setting, found, monkeypatch):
    for name, few in (("EXPERTS", 4), ("FEW", 1), ("MANY", 4), ("SAME", 2)):
        monkeypatch.setattr(analysis, name, few)
    analysis.run(setting, found)
    assert errors(found) == []
    assert found.values["parity"] == {
        "score_nats": 0,
        "gates_before_top_k": 0,
        "gates": 0,
        "choices_that_differ": 0,
    }
    for precision in ("fp32", "bf16"):
        rows = found.values[precision]
        assert rows["analyze"]["ratio"] > 0.5
        assert rows["many recordings"]["recordings"] == 4 * rows["few recordings"]["recordings"]
        assert rows["every expert switched off"]["seconds"] > 0


def test_experts_of_an_analysis_are_chosen_between(setting):
    """Random gates that all went to one expert would show neither a cost nor a difference."""
    model = model_of(setting)
    detector = analysis._detector(model, tables_of(base_from(model), analysis.EXPERTS), setting.device)
    seen = analysis._observed(setting, detector, 2, setting.clips)
    assert seen.seen.all()
    assert len(detector.mixture.names) == analysis.EXPERTS
    assert ((seen.gates > 0).sum(-1) == detector.recipe.router.top_k).all()
    assert len(set(seen.gates.argmax(-1).flatten().tolist())) > 1


def test_a_candidate_that_fails_is_left_out_and_the_others_are_compared(setting, found):
    def fail() -> None:
        raise RuntimeError("no such kernel")

    candidates = {
        "base": Candidate(lambda: time.sleep(0.01)),
        "twice": Candidate(lambda: time.sleep(0.02), over="base"),
        "broken": Candidate(fail, over="base"),
    }
    rows = in_turns(setting, found, candidates)
    assert rows["broken"] == {"error": "RuntimeError: no such kernel"}
    assert rows["twice"]["ratio"] > 1.2
    assert rows["base"]["ms"] >= 10


PART = """
import time
def run(setting, found):
    found.add("first", {"value": 1.0})
    KIND
"""


class Counted(subprocess.Popen):
    """Its time begins with its first finding: how long a process takes to start depends on what else runs here."""

    def wait(self, timeout: float | None = None) -> int:
        into, until = Path(self.args[self.args.index("--into") + 1]), time.monotonic() + 60
        while timeout is not None and not into.exists() and self.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        return super().wait(timeout)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("pass", "done"),
        ("raise ValueError('broken')", "failed: exit status 1"),
        ("found.add('x', {'y': {'error': 'no'}})", "failed: x/y"),
        ("time.sleep(60)", "stopped after 1 s"),
    ],
)
@pytest.mark.slow
def test_what_a_part_found_stays_however_it_ends(monkeypatch, tmp_path, kind, status):
    root = tmp_path / "root"
    (root / "benchmarks" / "gpu").mkdir(parents=True)
    here = Path(command.__file__).parent
    for name in ("__init__.py", "__main__.py", "setting.py", "targets.py"):
        (root / "benchmarks" / "gpu" / name).write_text((here / name).read_text())
    (root / "benchmarks" / "__init__.py").write_text("")
    (root / "benchmarks" / "gpu" / "cost.py").write_text(PART.replace("KIND", kind))
    monkeypatch.setattr(command, "ROOT", root)
    monkeypatch.setattr(command, "LEAST", 0)
    monkeypatch.setenv("PYTHONPATH", str(here.parents[1]))
    monkeypatch.setattr(command.subprocess, "Popen", Counted)
    found = command._in_process("cost", True, 1 if kind == "time.sleep(60)" else 60)
    assert found["status"] == status
    assert found["first"] == {"value": 1.0}


def test_without_a_card_there_is_no_file_and_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit, match="sees no CUDA card.*make gpu GPU_PYTHON=python3"):
        command.main()
    assert list(tmp_path.iterdir()) == []


def test_findings_are_written_as_all_results_are(monkeypatch, tmp_path):
    found = {"status": "done", "seconds": 1.25, "bf16": {"frozen base": {"ms": 3.0, "peak_mib": None}}}
    monkeypatch.setattr(command, "_in_process", lambda name, tiny, seconds: found)
    monkeypatch.setattr(
        sys, "argv", ["gpu", "--tiny", "--parts", "cost", "--out", str(tmp_path / "gpu.json")]
    )
    with pytest.raises(SystemExit) as leaving:
        command.main()
    assert not leaving.value.code
    results, plan = load_results("gpu", tmp_path), read_plan("gpu")
    assert results is not None
    assert results.figures == {"tiny cost": found}
    assert results.making("tiny cost").machine["card"] is None
    assert set(results.making("tiny cost").code) == set(plan.code)
    # What a CPU found of small shapes is of no plan, and no page shows it.
    assert [fault.reason for fault in faults(plan, results)] == ["not in the plan"]


def test_only_figures_of_a_target_are_judged():
    name = "mixture, 8 experts, utterance"
    rows = judged({"cost": {"bf16": {name: {"ratio": 1.2}, "attached, no expert": {"error": "no"}}}})
    assert [(row["found"], row["most"], row["met"]) for row in rows] == [(1.2, 1.1, False)]


def test_pages_show_what_a_card_found_and_what_failed():
    plan = read_plan("gpu")
    timed = {"ms": 12.5, "peak_mib": 900.0}
    mixtures = {
        f"mixture, {count} experts, utterance": timed | {"ratio": 1 + count / 1000} for count in (8, 256)
    }
    rates = {"ours": {"clips_per_second": 25.0, "peak_mib": 2000.0}, "ours_over_peft": 2.5}
    rates["PEFT and Trainer"] = {"clips_per_second": 10.0, "peak_mib": None}
    tests = {"passed": 9, "on_cuda": 4, "failed": ["x: no"]}
    analysed = {
        "score": timed,
        "analyze": timed | {"ratio": 1.04},
        "many recordings": {"recordings": 512, "seconds": 3.0, "peak_mib": 950.0},
        "memory_of_many_over_few": 1.2,
    }
    parts = {
        "checks": {"status": "failed: exit status 1", "tests": tests},
        "cost": {"status": "done", "bf16": {"frozen base": timed, "broken": {"error": "no"}, **mixtures}},
        "training": {"status": "done", "fp32": rates, "bf16": {"error": "no"}},
        "analysis": {"status": "done", "fp32": {"error": "no"}, "bf16": analysed},
        "commands": {"status": "done", "score": {"seconds": 2.0, "times_real_time": 700.0}},
    }
    results = Results.of(plan)
    for name, figures in parts.items():
        on = machine() | {"card": "Card X"}
        results.add(plan, Cell("card", (name,)), figures | {"seconds": 9.0}, on=on)
    found = {"gpu": Found("gpu", plan, results)}
    page = results_page(found)
    assert " on Card X, " in page
    assert "| bf16, 8 experts over the frozen base | ≤ 1.1 | 1.01 | yes |" in page
    assert "| bf16, 256 experts over the frozen base | ≤ 1.15 | 1.26 | no |" in page
    assert "| checks | failed: exit status 1 | 9 |" in page
    assert "| mixture, 256 experts, utterance | 12.50 | 1.256 | 900 |" in page
    assert "broken" not in page
    assert "| bf16, `analyze` with 64 experts over scoring | ≤ 1.05 | 1.04 | yes |" in page
    assert "| bf16, memory of `analyze` on four times as many recordings | ≤ 1.1 | 1.2 | no |" in page
    assert "| many recordings, bf16 | 512 | 3.00 | – | 950 |" in page
    assert "| ours over PEFT, fp32 | 2.50 | – |" in page
    assert "| device tests passed on the card; failed | 4; 1 |" in page
    readme = with_table("<!-- measured -->\n<!-- /measured -->\n", found)
    assert "bfloat16 on Card X, shape of WavLM-Large | 8: 1.01; 256: 1.26 times | `make gpu` |" in readme
    assert "Not measured on a GPU" not in readme
    nothing = {"gpu": Found("gpu", plan, Results.of(plan))}
    assert "Not measured on a GPU." in results_page(nothing)
    assert "Not measured on a GPU." in with_table(readme, nothing)
