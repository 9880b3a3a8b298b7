"""What the report derives from runs of a sequence: differences with intervals, targets, the page; made-up figures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.plan import Cell, Plan, read_plan
from benchmarks.report.experts import experts
from benchmarks.report.found import Found
from benchmarks.report.paired import difference, in_orders_of_all, in_orders_of_ours, level
from benchmarks.report.readme import with_table
from benchmarks.report.sequence import sequence
from benchmarks.report.targets import REPLAY, RIDGE, SEQUENTIAL, targets
from benchmarks.results import Results

TEST = ["lpc", "istft", "mel_gan", "hifigan", "splice", "cascade"]
NEEDED = "experts at work without which their attack's EER rises, intervals apart"
SHARE = "their smallest share of the gates on their attack over that on bona fide speech"
NOISE = np.random.default_rng(0).normal(size=200)
"""What every resample does to all runs alike, in per cent."""


def run_of(
    eer: float,
    *,
    own: float = 0.3,
    forgotten: float = 0.0,
    refused: float = 2.0,
    seed: int = 0,
    data: str = "x",
):
    """Figures in per cent: a run whose resamples move with those of all others, and by `own` beside them."""
    plan = read_plan("sequence")
    names = [*plan.settings["development"], *TEST]
    resampled = eer + NOISE + own * np.random.default_rng(seed).normal(size=200)
    rates = np.rint(100 * resampled).astype(int).tolist()
    threshold = {"refused": refused / 100, "accepted": 0.1}
    return {
        "data": data,
        "order": names,
        "final": dict.fromkeys(names, eer / 100),
        "right_after": {
            name: eer / 100 - (forgotten / 100 if at == 0 else 0) for at, name in enumerate(names)
        },
        "min_dcf": {"test": 0.2, "all": 0.1},
        "act_dcf": {"test": 0.3, "all": 0.2},
        "worst": {"attack": "lpc", "ci": [0.1, 0.2]},
        "resampled": {"test": rates, "all": rates},
        "threshold": {"first": threshold | {"refused": 0.015}, "last": threshold | {"accepted_test": 0.2}},
        "cost": {"seconds": 60.0, "stored": 5e6, "kept": 4e6, "trainable": 1000.0},
    }


def runs_of(eers: list[float], seed: int, **more):
    return {Cell("", (at, at)): run_of(eer, seed=seed + at, **more) for at, eer in enumerate(eers)}


@pytest.fixture
def by_method():
    found = {
        name: runs_of([12.0, 13.0, 14.0], 10 * at) for at, name in enumerate((*SEQUENTIAL, RIDGE), start=1)
    }
    found |= {
        "ours": runs_of([10.0, 11.0, 12.0], 0, forgotten=1.2),
        "joint": runs_of([9.8, 10.8, 11.7], 500),
        REPLAY: runs_of([10.1, 11.1, 12.1], 600),
    }
    acts = {"own": 0.4, "bona_fide": 0.1, "without": 0.05, "ci": [0.02, 0.08]}
    for run in list(found["ours"].values())[:2]:  # the last is from before they were looked at
        run["experts"] = dict.fromkeys(run["order"]) | {"lpc": acts}
    return found


def rows_of(by_method) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in targets(by_method, TEST) if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_a_difference_is_paired_by_resample_and_spread_over_orders():
    ours, theirs = runs_of([10.0, 11.0, 12.0], 0), runs_of([12.0, 13.0, 14.0], 10)
    found = difference(ours, theirs, "test", TEST)
    assert found.value == pytest.approx(-2.0) and found.runs == 3
    assert found.interval == pytest.approx(
        (-2.5, -1.5), abs=0.25
    )  # 2 * 0.3 * sqrt(2 / 3), without the common noise
    alone = level(ours, "test", TEST)
    assert alone.value == pytest.approx(11.0)
    low, high = alone.interval
    assert high - low > 4 and low < 10 < 12 < high  # the noise, and orders that differ by a point
    uneven = difference(ours, runs_of([9.0, 13.0, 17.0], 10), "test", TEST)
    assert uneven.value == pytest.approx(-2.0)
    assert uneven.interval[1] > 0  # orders do not agree
    assert found.text(sign=True).startswith("-2.00 [-2.")


def test_only_the_same_orders_on_the_same_recordings_are_compared():
    ours = runs_of([10.0, 11.0, 12.0], 0)
    theirs = {Cell("", (1, 1)): run_of(13.0), Cell("", (7, 7)): run_of(50.0)}
    found = difference(ours, theirs, "test", TEST)
    assert found.runs == 1 and found.value == pytest.approx(-2.0)
    assert difference(ours, runs_of([13.0], 0, data="y"), "test", TEST) is None
    assert difference(ours, {}, "test", TEST) is None


def test_targets_are_judged_from_figures(by_method):
    rows = rows_of(by_method)
    joint = rows["final mean EER over that of joint training, points"]
    assert joint[1].startswith("+0.23 [") and joint[2] == "yes"
    peers = rows["final mean EER below every sequential peer, intervals apart, points"]
    assert peers[1].endswith("; not: none") and peers[2] == "yes"
    assert rows["final mean EER below the readout alone, intervals apart, points"][1:] == [
        "apart: ridge; not: none",
        "yes",
    ]
    assert rows["backward transfer, mean, points"][1:] == ["+0.1", "yes"]
    assert rows["backward transfer, worst attack, points"][1:] == ["+1.2", "yes"]
    assert rows["bona fide refused after the last step, per cent"][1:] == ["2.0", "yes"]
    assert rows["the same over that after the first step, points"][1:] == ["+0.5", "yes"]
    replay = rows["final mean EER over that with replay, points"]
    assert replay[1].startswith("-0.10 [") and replay[2] == "yes"
    assert rows[NEEDED][1:] == ["2 of 2", "yes"]
    assert rows[SHARE][1:] == ["4.0", "yes"]


def test_experts_without_a_use_or_a_direction_miss_their_targets(by_method):
    first, second, _ = by_method["ours"].values()
    first["experts"]["lpc"] = {"own": 0.1, "bona_fide": 0.1, "without": 0.01, "ci": [-0.01, 0.02]}
    rows = rows_of(by_method)
    assert rows[NEEDED][1:] == ["1 of 2", "no"] and rows[SHARE][1:] == ["1.0", "no"]
    second["experts"]["lpc"] = None
    page = "\n".join(experts(by_method["ours"].values(), TEST))
    assert "| lpc | 1 of 2 | 10.0 | 10.0 | +1.0 | 0 of 1 |" in page
    assert "| istft | 0 of 2 | – | – | – | – |" in page
    first["experts"]["lpc"] = None
    rows = rows_of(by_method)
    assert rows[NEEDED][1:] == rows[SHARE][1:] == ["no expert is at work", "–"]
    for run in by_method["ours"].values():
        run["experts"] = {}
    rows = rows_of(by_method)
    assert rows[NEEDED][1:] == rows[SHARE][1:] == ["not measured", "–"]
    assert experts([by_method["joint"][Cell("", (0, 0))]], TEST) == []


def test_targets_that_are_missed_or_not_measured_say_so(by_method):
    by_method["ours"] = runs_of([10.0, 11.0, 12.0], 0, forgotten=4.0, refused=6.0)
    by_method["joint"] = {}
    by_method["replay"] = runs_of([10.0, 11.0, 12.0], 70)
    del by_method["lwf"]
    rows = rows_of(by_method)
    assert rows["final mean EER over that of joint training, points"][1:] == ["not measured", "–"]
    peers = rows["final mean EER below every sequential peer, intervals apart, points"]
    assert "not: replay +0.00 [" in peers[1] and "not measured: lwf" in peers[1] and peers[2] == "no"
    by_method["replay"] = runs_of([13.0, 13.0, 13.0], 70)
    assert rows_of(by_method)["final mean EER below every sequential peer, intervals apart, points"][2] == "–"
    for measure in (
        "backward transfer, mean",
        "backward transfer, worst attack",
        "bona fide refused",
        "the same",
    ):
        assert next(row for name, row in rows.items() if name.startswith(measure))[2] == "no"
    assert targets({"joint": by_method["replay"]}, TEST) == []


@pytest.fixture
def found(by_method) -> Found:
    return found_of(by_method)


def found_of(by_method) -> Found:
    plan = read_plan("sequence")
    trial = {"options": "strength=1000", "found": 0.123, "chosen": True}
    plan = Plan.model_validate(plan.model_dump() | {"tuning": {"ewc": [trial]}})
    results, machine = (
        Results.of(plan),
        {"bfloat16": False, "card": "", "processor": "x", "cores": 1, "torch": "2"},
    )
    by_method["alone"] = runs_of([50.0], 0)
    for method, runs in by_method.items():
        for cell, figures in runs.items():
            results.add(plan, Cell(method, cell.arguments), figures, {"benchmarks/sequence": ""}, machine)
    return Found("sequence", plan, Results.model_validate_json(results._text()))


def test_the_page_of_some_cells_says_how_many_there_are(found):
    page = "\n".join(sequence(found))
    there = 3 * (len(SEQUENTIAL) + 4) + 1
    assert f"Measured are {there} of {len(found.plan.cells)} runs of the plan." in page
    methods = page[page.index("### Methods") : page.index("### Ours against each")].splitlines()
    names = [line.split(" | ")[0].strip("| ") for line in methods if line.startswith("| ")][1:]
    assert names[:2] == ["joint training of the same mixture (all data at hand)", "**ours**"]
    assert names[-1].startswith("one LoRA and head per attack (its own")
    apart = page[page.index("### Ours against each") :].splitlines()
    assert next(line for line in apart if line.startswith("| RanPAC")).startswith("| RanPAC | 3 | -2.00 [-2.")
    assert all(f"| {name} | test |" in page for name in TEST)
    assert "| one LoRA, EWC | 1 | strength=1000: 12.3 (chosen) |" in page
    assert "| **ours** | 0 | not tuned |" in page
    assert "| **ours** | 1.5 | 2.0 | 10.0 | 10.0 | 20.0 |" in page
    assert "not compared" not in page
    found.results.rows[0].figures["data"] = "y"
    assert "runs on different ones are not compared" in "\n".join(sequence(found))


def test_orders_without_ours_are_kept_out_of_every_mean(by_method):
    by_method["joint"] = runs_of([9.8, 10.8, 11.7, 90.0], 500)
    by_method["lfcc"] = {Cell("", (4, 4)): run_of(40.0)}
    same = in_orders_of_ours(by_method)
    assert level(same["joint"], "test", TEST).value == pytest.approx(10.77, abs=0.01)
    assert "lfcc" not in same and len(same["ours"]) == 3
    del by_method["ours"]
    assert in_orders_of_ours(by_method) == by_method


def test_what_is_compared_in_one_figure_has_the_same_orders(by_method):
    by_method["joint"] = runs_of([9.8], 500)
    shared = in_orders_of_all({name: by_method[name] for name in ("ours", "joint")})
    assert [len(runs) for runs in shared.values()] == [1, 1]
    assert level(shared["ours"], "test", TEST).value == pytest.approx(10.0)
    by_method["ridge"] = {Cell("", (4, 4)): run_of(40.0)}
    assert not any(in_orders_of_all(by_method).values())


def test_a_method_of_harder_orders_is_ranked_beside_ours_in_these(by_method):
    easy, hard = {Cell("", (0, 0)): run_of(11.5)}, {Cell("", (2, 2)): run_of(12.5)}
    page = "\n".join(sequence(found_of(by_method | {"naive": easy, "ewc": hard})))
    found = page[page.index("### Methods") :].splitlines()
    rows = [line.strip("| ").split(" | ") for line in found if line.startswith("| one LoRA")]
    assert [row[0] for row in rows[:2]] == ["one LoRA, EWC", "one LoRA, fine-tuned in turn"]
    assert [row[1:2] + row[3:4] for row in rows[:2]] == [["1", "12.00"], ["1", "10.00"]]


def test_the_readme_has_a_row_of_it(by_method):
    by_method["joint"] = runs_of([9.8], 500)
    table = with_table("<!-- measured -->\n<!-- /measured -->", {"sequence": found_of(by_method)})
    assert "| 12 attacks learnt in turn, mean EER of the 6 test attacks: ours, joint training" in table
    assert "the readout alone; 1 order in which all of these are measured | 10.00 [" in table
    assert "| the same in 3 orders: ours; change since each attack's own step: mean, worst | 11.00 [" in table
    assert "+0.1, +1.2 points | `python -m benchmarks sequence` |" in table


def test_some_orders_of_some_methods_are_measured(monkeypatch, tmp_path):
    asked = []

    def run(name, plan, cells, out, *, again, **needed):
        asked.append((name, [cell.name for cell in cells], needed))

    monkeypatch.setattr(command, "run", run)
    words = [
        "benchmarks",
        "sequence",
        "--methods",
        "ours",
        "ridge",
        "--orders",
        "0",
        "--domains",
        str(tmp_path),
    ]
    monkeypatch.setattr("sys.argv", words)
    command.main()
    assert asked == [("sequence", ["ours 0 0", "ridge 0 0"], {"domains": tmp_path})]
    monkeypatch.setattr("sys.argv", ["benchmarks", "sequence", "--orders", "99"])
    with pytest.raises(SystemExit):
        command.main()


def test_without_domains_it_says_how_to_make_them(monkeypatch, tmp_path):
    words = ["benchmarks", "sequence", "--domains", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(
        SystemExit, match=r"bonafide\.csv is missing\. Make it: python -m tools\.wideband\.domains"
    ):
        command.main()
