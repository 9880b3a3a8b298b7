"""The benchmark of sequences, on three domains, a tiny base and made-up speech: every method, every figure."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import soundfile
import torch
from peft.tuners.lora import ArrowConfig
from peft.tuners.lora.arrow import ArrowLoraLinearLayer

from benchmarks.sequence.figures import averaged, figures_of
from benchmarks.sequence.kept import Kept, described
from benchmarks.sequence.methods import METHODS, Setting
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.separate import ArrowForm
from benchmarks.sequence.page import write_page
from benchmarks.sequence.plan import PLAN, Cell, Plan, cells, read_plan
from benchmarks.sequence.run import load_run, plan_recipe, prepare, run_cell, save_run
from benchmarks.sequence.targets import SEQUENTIAL, targets
from benchmarks.workbench import RESULTS
from molex_adapt.mixture import ExpertLinear, ExpertSpec
from molex_adapt.progress import Silent


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.model_validate(
        {
            "domains": {
                "lpc": {"attack": "lpc"},
                "gsm": {"attack": "gsm"},
                "calls": {"attack": "lpc", "parameters": {"order": 8}, "stage": {"codec": "gsm"}},
            },
            "held_out_speaker": "eve",
            "train": 12,
            "dev": 6,
            "test": 10,
            "held_out": 4,
            "steps": 4,
            "batch_size": 8,
            "runs": {name: [(0, 0)] for name in METHODS},
        }
    )


@pytest.fixture(scope="module")
def prepared(plan, sound, tiny_folder_of, tmp_path_factory):
    work = tmp_path_factory.mktemp("sequence")
    for number, voice in enumerate(("ann", "bob", "eve")):
        (work / "speech" / voice).mkdir(parents=True)
        for at in range(30 if voice != "eve" else 6):
            wave = sound(100 * number + at, 0.9, 110.0 + 30 * number)
            soundfile.write(work / "speech" / voice / f"{at}.wav", wave, 16_000)
    return work, prepare(plan, work / "speech", tiny_folder_of(), work, 1, Silent())


@pytest.fixture(scope="module")
def runs(plan, prepared, tiny_folder_of):
    work, domains = prepared
    for cell in cells(plan):
        run = run_cell(cell, plan, domains, tiny_folder_of(), Silent(), overrides=["precision=fp32"])
        save_run(run, work / "cells")
    return {cell.method: load_run(work / "cells" / f"{cell.name}.npz") for cell in cells(plan)}


def test_domains_are_paired_and_never_share_a_source_across_splits(plan, prepared):
    _, domains = prepared
    assert set(domains.tables) == {*plan.domains, "null", "null_gsm"}
    split_of: dict[str, set[str | None]] = {}
    for table in domains.tables.values():
        assert sorted(r.source for r in table if r.label == "spoof") == sorted(
            r.source for r in table if r.label == "bonafide"
        )
        for row in table:
            split_of.setdefault(row.source, set()).add(row.split)
            assert (row.speaker == "eve") == (row.split is None)
    assert all(len(splits) == 1 for splits in split_of.values())
    learnt = {source for data in domains.data.values() for source in data.train.sources}
    assert not learnt & set(domains.known.features.sources)


def test_bona_fide_speech_passes_the_stage_of_its_domain(prepared):
    _, domains = prepared
    folder = {name: {row.path.parts[-4] for row in table} for name, table in domains.tables.items()}
    real = {
        name: {row.path for row in table if row.label == "bonafide"} for name, table in domains.tables.items()
    }
    assert not real["calls"] & real["lpc"]
    assert all("null_gsm" in str(path) for path in real["calls"]), folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_is_measured_on_everything(method, plan, prepared, runs):
    run = runs[method]
    assert run.scores.shape == (3, len(prepared[1].known.features))
    rows = (0, 2) if method == "joint" else (0, 1, 2)
    assert np.isfinite(run.scores[list(rows)]).all()
    assert np.isfinite(run.held_out).all() and len(run.held_out)
    assert [step["domain"] for step in run.steps] == plan.order(0)
    assert all(step["trainable"] > 0 for step in run.steps)
    found = figures_of(run, prepared[1])
    assert set(found["matrix"]) == set(prepared[1].known.sets)
    assert ("forgetting" in found) == (method != "joint")


@pytest.mark.parametrize("method", ["ours", "ewc", "arrow"])
def test_a_cell_that_was_cut_off_goes_on_where_it_was(
    method, plan, prepared, runs, tiny_folder_of, tmp_path, monkeypatch
):
    _, domains = prepared
    state, cell = tmp_path / "state", Cell(method=method, order=0, seed=0)
    learn = type(METHODS[method](Setting(tiny_folder_of(), plan_recipe(plan, []), plan, 0, Silent()))).learn
    learnt: list[str] = []

    def cut_off(self, name, data):
        if len(learnt) == 2:
            raise KeyboardInterrupt
        learnt.append(name)
        return learn(self, name, data)

    def run():
        return run_cell(cell, plan, domains, tiny_folder_of(), Silent(), state, ["precision=fp32"])

    with monkeypatch.context() as patch:
        patch.setattr(METHODS[method] if isinstance(METHODS[method], type) else OneLora, "learn", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run()
    resumed = run()
    assert learnt == plan.order(0)[:2]
    assert np.array_equal(resumed.scores, runs[method].scores)
    assert np.array_equal(resumed.held_out, runs[method].held_out)
    assert [step["domain"] for step in resumed.steps] == plan.order(0)


def test_only_methods_with_replay_keep_speech(runs):
    keeping = {name for name, run in runs.items() if run.steps[-1]["kept"]}
    assert keeping == {"ours", "dense", "shared", "first_reads", "heads", "joint", "replay", "head"}


def test_altered_structures_begin_as_ours_and_then_differ(runs):
    for altered in ("shared", "heads"):
        assert np.array_equal(runs[altered].scores[0], runs["ours"].scores[0])
        assert not np.array_equal(runs[altered].scores[1], runs["ours"].scores[1])
    assert not np.array_equal(runs["first_reads"].scores[2], runs["ours"].scores[2])


def test_naive_training_on_one_domain_is_the_lora_alone(runs):
    assert np.array_equal(runs["naive"].scores[0], runs["alone"].scores[0])


def test_cures_change_what_follows_the_first_step(runs):
    for cured in ("replay", "ewc", "lwf"):
        assert np.array_equal(runs[cured].scores[0], runs["naive"].scores[0])
        assert not np.array_equal(runs[cured].scores[1], runs["naive"].scores[1])


@pytest.fixture(scope="module")
def kept(prepared, runs) -> Kept:
    found = Kept({name: described(prepared[1], name) for name in prepared[1].tables})
    for run in [*runs.values(), averaged(runs["alone"])]:
        found.add(figures_of(run, prepared[1]))
    return found


def test_the_page_has_every_method_and_domain(plan, kept, tmp_path):
    write_page(list(kept.runs.values()), plan, kept.domains, tmp_path / "sequence.json")
    page = (tmp_path / "sequence.md").read_text()
    assert all(f"| {name} |" in page for name in kept.domains)
    assert "probe: duration" in page and "EWC" in page and "averaged" in page
    assert "What is claimed" not in page
    assert (tmp_path / "sequence.png").stat().st_size > 10_000


def test_the_page_of_a_long_sequence_judges_what_is_claimed(plan, kept, tmp_path):
    long = plan.model_copy(update={"domains": {f"d{at}": plan.domains["lpc"] for at in range(10)}})
    write_page(list(kept.runs.values()), long, kept.domains, tmp_path / "sequence.json")
    assert "## What is claimed, and whether it holds" in (tmp_path / "sequence.md").read_text()


def test_kept_figures_are_read_back_by_the_same_plan_alone(plan, kept, tmp_path):
    path = tmp_path / "sequence.json"
    kept.save(path, plan)
    json.loads(path.read_text(), parse_constant=pytest.fail)
    assert Kept.load(path, plan) == kept
    assert len(kept.runs) == len(METHODS) + 1 and "ours-0-0" in kept.runs
    other_runs = plan.model_copy(update={"runs": {"ours": [(5, 5)]}})
    assert Kept.load(path, other_runs) == kept
    assert not Kept.load(path, plan.model_copy(update={"steps": plan.steps + 1})).runs
    assert not Kept.load(tmp_path / "none.json", plan).runs


def test_forgetting_and_transfer_of_known_scores(plan, prepared, runs):
    """Scores that separate a domain from its own step on, but the first no more at the end."""
    _, domains = prepared
    order = plan.order(0)
    scores = np.ones_like(runs["ours"].scores)  # an unknown forgery scores as bona fide speech does
    for step in range(3):
        for at, name in enumerate(order):
            rows = domains.known.sets[name]
            if at <= step and not (at == 0 and step == 2):
                scores[step, rows] = np.where(domains.known.bona_fide[rows], 1.0, -1.0)
    run = runs["ours"]
    made = type(run)(run.cell, order, scores, run.held_out, 0.5, run.steps)
    found = figures_of(made, domains)
    first, second = order[:2]
    assert found["right_after"]["by_domain"] == dict.fromkeys(order, 0.0)
    assert found["forgetting"]["by_domain"] == {first: 0.5, second: 0.0}
    assert found["backward"] == 0.25 and found["forward"] == 0.5
    assert found["final_mean"]["eer"] == pytest.approx(0.5 / 3)
    assert found["frozen_threshold"]["by_domain"][first]["false_alarm"] == [0.0, 1.0]
    assert found["frozen_threshold"]["spoof_drift"] == 1.0


def test_averaged_scores_are_the_mean_of_the_detectors_so_far(runs):
    alone = runs["alone"].scores
    assert averaged(runs["alone"]).scores[1] == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-5)


def test_arrow_is_that_of_peft():
    generator = torch.Generator().manual_seed(0)
    layer = ExpertLinear(torch.nn.Linear(32, 64))
    names = ["task_0", "task_1", "task_2"]
    adapters = {
        name: (torch.nn.Linear(32, 4, bias=False), torch.nn.Linear(4, 64, bias=False)) for name in names
    }
    for name, (a, b) in adapters.items():
        # Singular values far apart: PEFT finds the largest by 15 steps of power iteration.
        spread = torch.tensor([9.0, 1.0, 0.5, 0.1])[:, None]
        basis = torch.linalg.qr(torch.randn(32, 4, generator=generator))[0].T
        a.weight.data = spread * basis
        b.weight.data = torch.linalg.qr(torch.randn(64, 4, generator=generator))[0]
        layer.extend([ExpertSpec(name, 4, 8)], [(a.weight.detach(), b.weight.detach())])
    config = ArrowConfig(top_k=2, rng_seed=0)
    config.task_adapter_names, config.gks_adapter_names = list(names), []
    arrow = ArrowLoraLinearLayer(32, config)
    lora_a = torch.nn.ModuleDict({name: pair[0] for name, pair in adapters.items()})
    lora_b = torch.nn.ModuleDict({name: pair[1] for name, pair in adapters.items()})
    arrow.build_prototypes(lora_a, lora_b)
    x = torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        theirs = arrow(x, lora_a, lora_b, torch.nn.Identity(), dict.fromkeys(names, 2.0))
        ours = ArrowForm(top_k=2)(layer, x) - layer.linear(x)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ArrowForm(top_k=1)(layer, x) - layer.linear(x), theirs, atol=1e-2)


def test_the_committed_plan_is_whole():
    plan = read_plan()
    plans = [read_plan(path) for path in PLAN.parent.glob("*.yaml")]
    assert {name.partition("+")[0] for item in plans for name in item.runs} == set(METHODS)
    assert {*SEQUENTIAL, "joint", "alone"} <= {*plan.runs, "averaged"}
    assert len(plan.domains) >= 10
    assert sorted(plan.order(1)) == sorted(plan.domains) and plan.order(1) != plan.order(2)
    assert len({order for order, _ in plan.runs["ours"]}) == 3
    assert Cell(method="ours", order=1, seed=0) in cells(plan, ["ours"])


@pytest.mark.parametrize("path", sorted(PLAN.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_variant_of_a_committed_plan_is_a_recipe_and_is_run(path):
    plan = read_plan(path)
    for method in plan.runs:
        assert method.partition("+")[0] in METHODS
        plan_recipe(plan, plan.overrides(method))
    assert {f"ours+{name}" for name in plan.variants} <= set(plan.runs)


@pytest.mark.parametrize("path", sorted(PLAN.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_figures_are_of_the_committed_plan(path):
    figures = RESULTS / f"{path.stem}.json"
    committed = json.loads(figures.read_text())["runs"]
    assert committed and len(Kept.load(figures, read_plan(path)).runs) == len(committed)


def test_options_of_a_plan_hold_for_every_method_and_a_variant_goes_before_them(plan, kept, tmp_path):
    variants = {"wide": {"about": "all experts", "options": ["router.top_k=9"]}}
    planned = Plan.model_validate(plan.model_dump() | {"options": ["router.top_k=1"], "variants": variants})
    chosen = [
        plan_recipe(planned, planned.overrides(name)).router.top_k for name in ("ours", "naive", "ours+wide")
    ]
    assert chosen == [1, 1, 9]
    write_page(list(kept.runs.values()), planned, kept.domains, tmp_path / "page.json")
    assert "All methods, ours too, with `router.top_k=1`" in (tmp_path / "page.md").read_text()


def test_targets_are_judged_from_figures(kept):
    by_method: dict[str, list] = {}
    for run in kept.runs.values():
        by_method.setdefault(run["method"], []).append(copy.deepcopy(run))
    by_method["joint"][0]["final_mean"]["eer"] = by_method["ours"][0]["final_mean"]["eer"] - 0.004
    for name in SEQUENTIAL:
        by_method[name][0]["final_mean"]["eer_ci"] = [0.9, 1.0]
    by_method["ours"][0]["final_mean"]["eer_ci"] = [0.1, 0.2]
    by_method["ours"][0]["forgetting"] |= {"mean": 0.004, "worst": 0.009}
    found = {line.split(" | ")[0].strip("| "): line for line in targets(by_method)}
    assert "+0.4 | yes" in found["final average over that of joint training, points"]
    assert found["final average below every sequential method, intervals apart"].endswith("| yes |")
    assert "+0.4 | no" in found["forgetting, mean, points"]
    assert "+0.9 | yes" in found["forgetting, worst domain, points"]
    assert "not measured" in found["final average with statistics only, over that with replay, points"]
    by_method["replay"][0]["final_mean"] = {"eer": 0.01, "eer_ci": [0.0, 0.15]}
    lower = next(line for line in targets(by_method) if "below every sequential" in line)
    assert "replay lower than ours" in lower and lower.endswith("| no |")


def test_other_methods_are_compared_in_the_orders_that_both_were_run_in(kept):
    ours, joint = (copy.deepcopy(kept.runs[f"{name}-0-0"]) for name in ("ours", "joint"))
    ours["final_mean"]["eer"], joint["final_mean"]["eer"] = 0.10, 0.09
    easier = copy.deepcopy(ours) | {"order": 1, "final_mean": {"eer": 0.01, "eer_ci": [0.0, 0.02]}}

    def found(*runs):
        lines = targets({"ours": list(runs), "joint": [joint]})
        return next(line for line in lines if "joint training" in line)

    assert "| +1.0 | no |" in found(ours, easier)
    assert "not measured" in found(easier)


def test_statistics_are_compared_with_runs_that_differ_in_what_is_kept_alone(kept):
    def run(method, order, eer):
        made = copy.deepcopy(kept.runs["ours-0-0"]) | {"method": method, "order": order}
        return made | {"final_mean": {"eer": eer, "eer_ci": [0.0, 1.0]}}

    def found(*others):
        by_method = {"ours": [run("ours", 0, 0.01)]}
        for other in others:
            by_method.setdefault(other["method"], []).append(other)
        return next(line for line in targets(by_method) if "statistics only" in line)

    alike, another_order = run("ours+top_2", 0, 0.09), run("ours+top_2", 1, 0.01)
    statistics = run("ours+statistics", 0, 0.10)
    assert "| +1.0 | yes |" in found(statistics, alike, another_order)
    assert "not measured" in found(statistics, another_order)
    assert "not measured" in found(statistics)
