"""The benchmark of sequences, on three domains, a tiny base and made-up speech: every method, every figure."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import soundfile
import torch
from peft.tuners.lora import ArrowConfig
from peft.tuners.lora.arrow import ArrowLoraLinearLayer

from benchmarks.plan import Cell, Plan, read_plan
from benchmarks.report.claims import SEQUENTIAL, claims
from benchmarks.report.found import Found
from benchmarks.report.matrix import Matrix
from benchmarks.report.sequence import sequence
from benchmarks.results import Results
from benchmarks.sequence.figures import averaged, figures_of
from benchmarks.sequence.measure import measure
from benchmarks.sequence.methods import METHODS
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.separate import ArrowForm
from benchmarks.sequence.run import CellScores, load_run, prepare, run_cell, save_run
from benchmarks.sequence.settings import Settings
from molex_adapt.mixture import ExpertLinear, ExpertSpec
from molex_adapt.progress import Silent
from molex_adapt.run import Run

ORDER = ["lpc", "gsm", "calls"]


@pytest.fixture(scope="module")
def plan(tiny_folder_of) -> Plan:
    steps = ["joint.steps=2", "expert.steps=2", "training.batch_size=8"]
    return Plan.model_validate(
        {
            "measurement": "sequence",
            "reads": ["lora", "router", "training", "joint", "expert"],
            "options": [*steps, "precision=fp32", "exemplars.check=0"],
            "code": ["benchmarks/sequence"],
            "settings": {
                "base": str(tiny_folder_of()),
                "domains": {
                    "lpc": {"attack": "lpc"},
                    "gsm": {"attack": "gsm"},
                    "calls": {"attack": "lpc", "parameters": {"order": 8}, "stage": {"codec": "gsm"}},
                },
                "held_out_speaker": "eve",
                "train": 8,
                "dev": 6,
                "test": 10,
                "held_out": 4,
            },
            "runs": {name: [[0, 0]] for name in METHODS},
        }
    )


@pytest.fixture(scope="module")
def prepared(plan, sound, tmp_path_factory):
    work = tmp_path_factory.mktemp("sequence")
    for number, voice in enumerate(("ann", "bob", "eve")):
        (work / "speech" / voice).mkdir(parents=True)
        for at in range(30 if voice != "eve" else 6):
            wave = sound(100 * number + at, 0.72, 110.0 + 30 * number)
            soundfile.write(work / "speech" / voice / f"{at}.wav", wave, 16_000)
    return work, prepare(plan, work / "speech", work, Run(workers=1))


@pytest.fixture(scope="module")
def runs(plan, prepared):
    work, domains = prepared
    for cell in plan.cells:
        save_run(run_cell(cell, plan, domains, Silent()), work / "runs" / f"{cell.method}.npz")
    return {cell.method: load_run(work / "runs" / f"{cell.method}.npz") for cell in plan.cells}


def test_domains_are_paired_and_never_share_a_source_across_splits(prepared):
    _, domains = prepared
    assert set(domains.tables) == {*ORDER, "null", "null_gsm"}
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
def test_every_method_learns_and_is_measured_on_everything(method, prepared, runs):
    run = runs[method]
    assert run.scores.shape == (3, len(prepared[1].known.features))
    rows = (0, 2) if method == "joint" else (0, 1, 2)
    assert np.isfinite(run.scores[list(rows)]).all()
    assert np.isfinite(run.held_out).all()
    assert len(run.held_out)
    assert run.order == ORDER
    assert len(run.steps) == 3
    assert all(step["trainable"] > 0 for step in run.steps)
    found = figures_of(run, prepared[1])
    assert set(found["matrix"]) == set(prepared[1].known.sets)
    assert (found["frozen_threshold"] is None) == (method == "joint")


@pytest.mark.parametrize("method", ["ours", "ewc", "arrow"])
def test_a_cell_that_was_cut_off_goes_on_where_it_was(method, plan, prepared, runs, tmp_path, monkeypatch):
    _, domains = prepared
    state, cell = tmp_path / "state", Cell(method, (0, 0))
    kind = METHODS[method] if isinstance(METHODS[method], type) else OneLora
    learn, learnt = kind.learn, list[str]()

    def cut_off(self, name, data):
        if len(learnt) == 2:
            raise KeyboardInterrupt
        learnt.append(name)
        return learn(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "learn", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, plan, domains, Silent(), state)
    resumed = run_cell(cell, plan, domains, Silent(), state)
    assert learnt == ORDER[:2]
    assert np.array_equal(resumed.scores, runs[method].scores)
    assert np.array_equal(resumed.held_out, runs[method].held_out)
    assert len(resumed.steps) == 3


def test_a_cell_in_a_process_of_its_own_ends_with_the_same_figures(plan, prepared, runs):
    work, domains = prepared
    cell = Cell("head", (0, 0))
    [(done, found)] = measure(plan, [cell], work / "speech", work, workers=1)
    assert done == cell
    same = figures_of(runs["head"], domains)
    assert (found["matrix"], found["held_out_voice"]) == (same["matrix"], same["held_out_voice"])


def test_only_methods_with_replay_keep_speech(runs):
    keeping = {name for name, run in runs.items() if run.steps[-1]["kept"]}
    assert keeping == {"ours", "joint", "replay", "head"}


def test_naive_training_on_one_domain_is_the_lora_alone(runs):
    assert np.array_equal(runs["naive"].scores[0], runs["alone"].scores[0])


def test_cures_change_what_follows_the_first_step(runs):
    for cured in ("replay", "ewc", "lwf"):
        assert np.array_equal(runs[cured].scores[0], runs["naive"].scores[0])
        assert not np.array_equal(runs[cured].scores[1], runs["naive"].scores[1])


@pytest.fixture(scope="module")
def found(plan, prepared, runs) -> Found:
    """As kept: read back from its text."""
    whole = plan.model_copy(update={"runs": plan.runs | {"averaged": [[0, 0]]}})
    results = Results.of(whole)
    for cell in whole.cells:
        run = averaged(runs["alone"]) if cell.method == "averaged" else runs[cell.method]
        results.add(whole, cell, figures_of(run, prepared[1]))
    path = prepared[0] / "sequence.json"
    results.save(path)
    return Found("sequence", whole, Results.model_validate_json(path.read_text()))


def test_the_page_has_every_method_and_domain(found):
    page = "\n".join(sequence(found))
    assert all(f"| {name} |" in page for name in ORDER)
    assert "probe: duration" in page
    assert "EWC" in page
    assert "averaged" in page
    assert "What is claimed" not in page


def test_the_page_of_a_long_sequence_judges_what_is_claimed(found):
    domains = found.plan.settings["domains"]
    long = domains | {f"d{at}": domains["lpc"] for at in range(7)}
    settings = found.plan.settings | {"domains": long}
    results = copy.deepcopy(found.results)
    for row in results.rows:
        row.figures["matrix"] |= {f"d{at}": row.figures["matrix"]["lpc"] for at in range(7)}
        row.figures["order"] = [*row.figures["order"][:-1], *(f"d{at}" for at in range(7)), "calls"]
        row.figures["matrix"] = {name: _longer(values) for name, values in row.figures["matrix"].items()}
    page = "\n".join(
        sequence(Found("sequence", found.plan.model_copy(update={"settings": settings}), results))
    )
    assert "### What is claimed, and whether it holds" in page


def _longer(values):
    return [*values[:2], *values[1:2] * 7, values[2]]


def test_forgetting_and_transfer_of_known_scores(plan, prepared, runs):
    """Scores that separate a domain from its own step on, but the first no more at the end."""
    _, domains = prepared
    sources = sorted(set(domains.known.features.sources))
    place = np.array([sources.index(source) for source in domains.known.features.sources])
    beside = np.where(domains.known.bona_fide, 0, np.where(place % 2, 1e-5, -1e-5))
    # An unknown forgery scores as the recording it was made from, but for a hair: ties have an EER of their own.
    scores = np.tile((1 + 1e-4 * place + beside).astype(np.float32), (3, 1))
    for step in range(3):
        for at, name in enumerate(ORDER):
            rows = domains.known.sets[name]
            if at <= step and not (at == 0 and step == 2):
                scores[step, rows] = np.where(domains.known.bona_fide[rows], 1.0, -1.0)
    found = figures_of(CellScores(ORDER, scores, runs["ours"].held_out, 0.5, runs["ours"].steps), domains)
    matrix, (first, second, _) = Matrix.of(found), ORDER
    assert matrix.right_after == dict.fromkeys(ORDER, 0.0)
    assert matrix.forgetting == pytest.approx({first: 0.5, second: 0.0}, abs=0.11)
    assert matrix.backward == pytest.approx(matrix.forgetting[first] / 2)
    assert matrix.forward == pytest.approx(0.5, abs=0.11)
    assert matrix.final_mean == pytest.approx(matrix.forgetting[first] / 3)
    assert found["frozen_threshold"] == pytest.approx(
        {"miss": 0.0, "false_alarm": 0.5, "bona_fide_drift": 0.0, "spoof_drift": 1.0}, abs=0.01
    )


def test_a_matrix_with_holes_is_no_matrix_of_zeros():
    matrix = Matrix(["a", "b"], {"a": [0.1, 0.2], "b": [None, 0.1]})
    assert not matrix.complete
    assert matrix.final_mean == pytest.approx(0.15)
    with pytest.raises(ValueError, match="b was not measured after step 0"):
        _ = matrix.forward


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
    plan = read_plan("sequence")
    settings = plan.settings_as(Settings)
    assert {name.partition("+")[0] for name in plan.runs} == {*METHODS, "averaged"}
    assert {f"ours+{name}" for name in plan.variants} <= set(plan.runs)
    assert {*SEQUENTIAL, "joint", "alone"} <= set(plan.runs)
    assert set(plan.reads_of) <= set(plan.runs)
    assert len(settings.domains) >= 10
    assert sorted(settings.order(1)) == sorted(settings.domains)
    assert settings.order(1) != settings.order(2)
    assert len({order for order, _ in plan.runs["ours"]}) == 3
    assert plan.resolved("ours+dense").router.top_k == len(settings.domains)


def run_of(
    finals: dict[str, float], interval: tuple[float, float], forgotten: float = 0.0, error: float = 0.0
):
    """Figures of a made-up run over ten domains, the first of which was better right after its step."""
    order = list(finals)
    matrix = {name: [value] * len(order) for name, value in finals.items()}
    matrix[order[0]] = [finals[order[0]] - forgotten] * (len(order) - 1) + [finals[order[0]]]
    return {
        "order": order,
        "matrix": matrix | {"null": [0.5] * len(order)},
        "mean_eer_ci": list(interval),
        "held_out_voice": dict.fromkeys(order, 0.2),
        "frozen_threshold": {"miss": error, "false_alarm": error, "bona_fide_drift": 0.0, "spoof_drift": 0.0},
    }


def alike(eer: float, interval: tuple[float, float] = (0.0, 1.0), **more: float):
    return run_of({f"d{at}": eer for at in range(10)}, interval, **more)


def claim(by_method, measure: str) -> str:
    return next(line for line in claims(by_method) if line.startswith(f"| {measure}"))


def test_claims_are_judged_from_figures():
    first = Cell("", (0, 0))
    by_method = {name: {first: alike(0.5, (0.4, 0.6))} for name in (*SEQUENTIAL, "joint")}
    by_method["ours"] = {first: alike(0.104, (0.05, 0.2), forgotten=0.009, error=-0.02)}
    by_method["joint"] = {first: alike(0.1)}
    assert "+0.4 | yes" in claim(by_method, "final average over that of joint training")
    assert claim(by_method, "final average below every sequential method").endswith("| yes |")
    assert "+0.1 | yes" in claim(by_method, "forgetting, mean")
    assert "+0.9 | yes" in claim(by_method, "forgetting, worst domain")
    assert "-2.0 | no" in claim(by_method, "change of old domains' error rates")
    assert "50.0 to 50.0 | yes" in claim(by_method, "controls")
    assert "20.0 against 10.4" in claim(by_method, "a voice nobody heard")
    by_method["replay"] = {first: alike(0.01, (0.0, 0.15))}
    lower = claim(by_method, "final average below every sequential method")
    assert "replay lower than ours" in lower
    assert lower.endswith("| no |")


def test_other_methods_are_compared_in_the_orders_that_both_were_run_in():
    joint = {Cell("joint", (0, 0)): alike(0.09)}
    hard, easy = {Cell("ours", (0, 0)): alike(0.10)}, {Cell("ours", (1, 0)): alike(0.01)}
    measure = "final average over that of joint training"
    assert "| +1.0 | no |" in claim({"ours": hard | easy, "joint": joint}, measure)
    assert "not measured" in claim({"ours": easy, "joint": joint}, measure)
