"""Plans, results, and whether what a page shows is true today."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from benchmarks import provenance
from benchmarks.__main__ import run
from benchmarks.plan import PLANS, ROOT, Plan, plan_names, read_plan
from benchmarks.provenance import changed, code_of
from benchmarks.report.__main__ import different, drop, untrue
from benchmarks.report.found import Found, find_all
from benchmarks.report.pages import pages, results_page
from benchmarks.report.readme import MOST, with_table
from benchmarks.results import Results, load_results
from benchmarks.standing import adopt, faults
from molex_adapt.errors import RecipeError
from molex_adapt.recipe import Options

SPEED = {
    "measurement": "speed",
    "reads": ["lora", "router.top_k"],
    "code": ["benchmarks/plan"],
    "settings": {"rounds": 3},
    "runs": {"score": [10, 20], "analyze": [[30]]},
}


@pytest.fixture
def plan() -> Plan:
    return Plan.model_validate(SPEED)


@pytest.fixture
def results(plan) -> Results:
    made = Results.of(plan)
    for cell in plan.cells:
        made.add(plan, cell, {"times_real_time": 211.7, "over_score": float("nan")})
    return made


def test_committed_results_are_of_the_present_plans_and_recipe():
    assert list(untrue(find_all())) == []


def test_committed_pages_are_what_the_results_give():
    assert list(different(pages(find_all()))) == []


@pytest.mark.parametrize("name", plan_names())
def test_a_committed_plan_says_what_decides_its_figures(name):
    plan = read_plan(name)
    for method in plan.runs:
        assert bool(plan.deciding(method)) == bool(plan.reads_of.get(method, plan.reads) or plan.files)
    assert [part for part, source in code_of(plan.code).items() if not source] == []
    header = (PLANS / f"{name}.yaml").read_text()
    for word in ("Needs", "Run", "Override"):
        assert f"# {word}" in header


def test_results_are_read_back_as_they_were_one_row_a_line(results, tmp_path):
    results.save(tmp_path / "speed.json")
    text = (tmp_path / "speed.json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    assert load_results("speed", tmp_path) == results
    assert load_results("none", tmp_path) is None
    assert sum('"name"' in line for line in text.splitlines()) == len(results.rows)
    assert results.figures["score 10"] == {"times_real_time": 211.7, "over_score": None}
    assert json.loads(text)["makings"].keys() == {row.made for row in results.rows}


def test_rows_of_the_plan_and_recipe_are_true(plan, results):
    assert faults(plan, results) == []
    with_more = plan.model_copy(update={"runs": {**plan.runs, "mixed": [5]}})
    assert faults(with_more, results) == []


def test_rows_of_another_plan_are_not(plan, results):
    other = plan.model_copy(update={"settings": {"rounds": 4}})
    assert {fault.reason for fault in faults(other, results)} == {"made by another plan"}
    fewer = plan.model_copy(update={"runs": {"score": [10]}})
    assert [(fault.row, fault.reason) for fault in faults(fewer, results)] == [
        ("analyze 30", "not in the plan"),
        ("score 20", "not in the plan"),
    ]


def test_rows_of_another_recipe_are_not_and_the_settings_are_named(plan, results):
    changed_recipe = plan.model_copy(update={"options": ["lora.rank=4", "router.top_k=1", "expert.steps=7"]})
    found = faults(changed_recipe, results)
    assert len(found) == 3
    assert found[0].reason == "of another recipe: lora.rank was 8, is 4; router.top_k was 4, is 1"
    assert found[0].settings == ()
    unread = plan.model_copy(update={"options": ["expert.steps=7"]})
    assert faults(unread, results) == []


def test_settings_that_came_or_went_are_adopted_by_a_person_alone(plan, results):
    for sections in results.recipes.values():
        sections["lora"]["gone"] = 1
        del sections["lora"]["alpha"]
    old = next(iter(results.recipes))
    results.recipes = {"former": results.recipes[old]}
    for row in results.rows:
        row.recipe = "former"
    found = faults(plan, results)
    assert {fault.settings for fault in found} == {("lora.gone went", "lora.alpha came")}
    assert adopt(plan, results) == ["lora.alpha came", "lora.gone went"]
    assert faults(plan, results) == []
    assert list(results.recipes) == [old]
    assert (
        "Of the recipe since then: `lora.alpha came` and `lora.gone went`"
        in Found("speed", plan, results).origin()
    )


def test_what_differs_in_value_cannot_be_adopted(plan, results):
    other = plan.model_copy(update={"options": ["lora.rank=4"]})
    assert adopt(other, results) == []
    assert len(faults(other, results)) == 3


def test_variants_are_of_their_own_recipe():
    variants = {"wide": {"about": "all", "options": ["router.top_k=9"]}}
    varied = Plan.model_validate(SPEED | {"variants": variants, "options": ["router.top_k=1"]})
    assert [varied.deciding(name)["router.top_k"] for name in ("score", "score+wide")] == [1, 9]
    with pytest.raises(KeyError):
        varied.deciding("score+narrow")


def test_files_beside_the_recipe_decide_as_well_but_not_by_their_comments(monkeypatch, tmp_path):
    plan = Plan.model_validate(SPEED | {"files": ["demo.yaml"]})
    monkeypatch.setattr("benchmarks.plan.ROOT", tmp_path)
    (tmp_path / "demo.yaml").write_text("novel: x\n")
    results = Results.of(plan)
    results.add(plan, plan.cells[0], {})
    (tmp_path / "demo.yaml").write_text("# why\nnovel: x\n")
    assert faults(plan, results) == []
    (tmp_path / "demo.yaml").write_text("novel: y\n")
    [fault] = faults(plan, results)
    assert fault.reason.startswith("of another recipe: demo.yaml was ")
    assert fault.settings == ()


def test_a_section_that_recipes_do_not_have_is_refused(plan):
    for key in ("lora.rang", "rooter", "precision.half"):
        with pytest.raises(RecipeError, match=f"recipes have no {key}"):
            plan.model_copy(update={"reads": [key]}).deciding("score")


def test_unknown_settings_are_refused(plan):
    class Settings(Options):
        rounds: int = 1

    assert plan.settings_as(Settings).rounds == 3
    with pytest.raises(RecipeError, match="did you mean 'rounds'"):
        plan.model_copy(update={"settings": {"round": 3}}).settings_as(Settings)


SOURCE = (
    '"""Doc."""\n\nLIMIT = 3\n"""Of what."""\n\n\ndef twice(x):\n    """Text."""\n    return 2 * x  # why\n'
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (SOURCE.replace("Doc", "Other").replace("Text", "More").replace("Of what", "Of that"), True),
        (SOURCE.replace("# why", "").replace("return 2 * x", "return (2\n        * x)"), True),
        (SOURCE.replace("3", "4"), False),
        (SOURCE.replace("2 * x", "x * 2"), False),
        (SOURCE + "\n\nprint('text')\n", False),
    ],
)
def test_wording_and_layout_are_no_change_of_code(text, same, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a.py").write_text(SOURCE)
    (tmp_path / "alone.py").write_text("x = 1\n")
    before = code_of(["pack", "alone", "missing"], tmp_path)
    assert before["missing"] == ""
    (tmp_path / "pack" / "a.py").write_text(text)
    assert changed([before], tmp_path) == ([] if same else ["pack"])
    (tmp_path / "pack" / "b.py").write_text("")
    assert "pack" in changed([before], tmp_path)


def test_rows_of_other_code_are_marked_but_stay(plan, results, monkeypatch):
    found = Found("speed", plan, results)
    assert "Before the last change" not in found.origin()
    monkeypatch.setattr(provenance, "_digest_of", lambda part, root: "other")
    assert faults(plan, results) == []
    assert "Before the last change of `benchmarks/plan`." in found.origin()


def test_the_machine_is_described(results):
    made = next(iter(results.makings.values())).machine
    assert made["cores"] >= 1
    assert set(made) == {"processor", "cores", "bfloat16", "card", "torch"}


def test_what_is_missing_is_measured_and_kept_at_once(plan, tmp_path, monkeypatch):
    asked: list[list[str]] = []

    def measure(plan, cells):
        asked.append([cell.name for cell in cells])
        for cell in cells:
            yield cell, {"value": len(asked)}
            if cell.name == "score 10" and len(asked) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.speed.measure", measure)
    with pytest.raises(KeyboardInterrupt):
        run("speed", plan, plan.cells, tmp_path)
    kept = load_results("speed", tmp_path)
    assert kept is not None
    assert list(kept.figures) == ["score 10"]
    run("speed", plan, plan.cells, tmp_path)
    run("speed", plan, plan.cells, tmp_path)
    assert asked == [["score 10", "score 20", "analyze 30"], ["score 20", "analyze 30"]]
    run("speed", plan, plan.cells[:1], tmp_path, again=True)
    kept = load_results("speed", tmp_path)
    assert kept is not None
    assert kept.figures == {"score 10": {"value": 3}, "score 20": {"value": 2}, "analyze 30": {"value": 2}}


def test_rows_of_another_recipe_are_measured_anew(plan, results, tmp_path, monkeypatch):
    results.save(tmp_path / "speed.json")
    monkeypatch.setattr("benchmarks.speed.measure", lambda plan, cells: ((cell, {}) for cell in cells))
    other = plan.model_copy(update={"options": ["lora.rank=4"]})
    made = run("speed", other, other.cells, tmp_path)
    assert faults(other, made) == []
    assert {sections["lora"]["rank"] for sections in made.recipes.values()} == {4}


def test_stale_rows_are_dropped(plan, results, tmp_path):
    results.save(tmp_path / "speed.json")
    (tmp_path / "old.json").write_text("{}")
    stale = Found("speed", plan.model_copy(update={"options": ["lora.rank=4"]}), results)
    problems = list(untrue({"speed": stale}, tmp_path))
    assert any(line.startswith("results/old.json: no plan") for line in problems)
    assert any(
        "score 20: of another recipe: lora.rank was 8, is 4. Measure it anew" in line for line in problems
    )
    drop({"speed": stale}, tmp_path)
    assert not (tmp_path / "speed.json").exists()


def test_a_page_that_was_edited_by_hand_is_found(tmp_path):
    page = tmp_path / "RESULTS.md"
    assert list(different({page: "a\n"})) == [
        "RESULTS.md is not what plans, results and code give. Run python -m benchmarks.report"
    ]
    page.write_text("a\n")
    assert list(different({page: "a\n"})) == []


def test_what_was_not_measured_says_so(plan):
    page = results_page({"speed": Found("speed", plan, Results.of(plan))})
    assert "Not measured with the present recipe." in page


def test_the_readme_shows_few_rows_and_needs_a_place_for_them(plan, results):
    found = {"speed": Found("speed", plan, results)}
    text = with_table("before\n<!-- measured -->\nold\n<!-- /measured -->\nafter\n", found)
    assert "old" not in text
    assert "212 times real time | `python -m benchmarks speed` |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert with_table(text, found) == text
    with pytest.raises(ValueError, match="no place for figures"):
        with_table("nothing", found)
    rows = (ROOT / "README.md").read_text().split("<!-- measured -->")[1].split("<!-- /measured -->")[0]
    assert 0 < rows.count("\n| ") - 1 <= MOST


def test_the_check_fails_in_a_checkout_with_a_stale_row(tmp_path):
    """The command as the build runs it, on a copy in which the recipe has changed."""
    for name in ("benchmarks", "molex_adapt", "recipes"):
        # With what is compiled, but for what another process is just compiling.
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    generation = "registry/generations/2/generation.yaml"
    (tmp_path / generation).parent.mkdir(parents=True)
    for name in ("README.md", "pyproject.toml", generation):
        shutil.copy(ROOT / name, tmp_path / name)

    def check() -> tuple[int, str]:
        command = [sys.executable, "-m", "benchmarks.report", "--check"]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.returncode, ran.stderr

    assert check() == (0, "")
    recipe = tmp_path / "recipes" / "shipped.yaml"
    recipe.write_text(recipe.read_text().replace("rank: 8", "rank: 9"))
    status, said = check()
    assert status == 1
    assert (
        "results/cost.json: embedded bf16, embedded fp32 and 2 more rows: of another recipe: lora.rank was 8"
        in said
    )
    assert "is 9. Measure it anew (python -m benchmarks cost)" in said
