"""Options that are gone: passed over in what a registry stored, refused in what a user gives."""

from __future__ import annotations

import hashlib
import inspect
import shutil
from pathlib import Path

import pytest
import yaml

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.cli.options import recipe_for
from molex_adapt.data import assign_splits
from molex_adapt.data.audit import audit
from molex_adapt.errors import RecipeError
from molex_adapt.head import DROPOUT
from molex_adapt.metrics import measure
from molex_adapt.recipe import Recipe, dump, load, readable, validate
from molex_adapt.recipe.retired import (
    ATTENTION,
    FIXED,
    FOLLOWING,
    GONE,
    MEMORY,
    MOVED,
    RETIRED,
    retired_keys,
    without_retired,
)
from molex_adapt.shipped import registry_path
from molex_adapt.text import shown
from molex_adapt.train import loop, stages

KEPT = {
    "joint": ("steps", 3),
    "expert": ("steps", 3),
    "router_stage": ("steps", 3),
    "exemplars": ("replay", 3),
    "head": ("width", 12),
    "data": ("window_seconds", 3.0),
    "gate": ("tolerance", 0.5),
}
"""By section with retired options: one that there still is."""
VALUES: dict[str, object] = {
    **dict.fromkeys(GONE, "frozen"),
    **FIXED,
    **dict.fromkeys(MOVED | FOLLOWING, 0.25),
    **{key: 3 for key in MOVED if key.endswith(("batch_size", "patience"))},
    ATTENTION: 6,
}
"""By retired key: what a stored recipe may say."""


@pytest.fixture
def shipped(tmp_path) -> Registry:
    """A copy of the shipped registry, as if it had been written when all of these options were there."""
    folder = Path(shutil.copytree(registry_path(), tmp_path / "registry"))
    active = folder / "generations" / str(Registry.open(folder).store.generation().number)
    generation, stored = active / "generation.yaml", active / "recipe.yaml"
    old = stored.read_bytes()
    stored.write_text(former(old.decode()))
    digests = [hashlib.sha256(text).hexdigest() for text in (old, stored.read_bytes())]
    generation.write_text(generation.read_text().replace(*digests))
    for path in (folder / "experts").glob("*/expert.yaml"):
        record = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(record | {"recipe": former(record["recipe"])}, sort_keys=False))
    return Registry.open(folder)


def former(recipe: str) -> str:
    """A stored recipe with every retired option."""
    content = yaml.safe_load(recipe)
    for key in RETIRED:
        section, _, name = key.rpartition(".")
        value = content["head"]["width"] // 2 if key == ATTENTION else VALUES[key]
        (content[section] if section else content).setdefault(name, value)
    return yaml.safe_dump(content, sort_keys=False)


def with_retired(key: str) -> dict[str, object]:
    section, _, name = key.rpartition(".")
    if not section:
        return {name: VALUES[key]}
    other, value = KEPT[section]
    return {section: {name: VALUES[key], other: value}}


def test_no_retired_option_is_one_that_there_is():
    assert retired_keys(Recipe().model_dump()) == []


def test_a_registry_of_former_options_stays_readable(shipped):
    text = shipped.store.recipe()
    assert sorted(retired_keys(yaml.safe_load(text))) == sorted(RETIRED)
    assert shipped.recipe().joint.steps == 240
    assert shipped.detector(run=Run(device="cpu")).recipe.router.top_k == 4
    assert shipped.store.recipe() == text


def test_overrides_of_a_stored_recipe_are_read_but_not_with_retired_options(shipped):
    changed = recipe_for(shipped.store.path, None, ["expert.steps=7"])
    assert (changed.expert.steps, changed.joint.steps) == (7, 240)
    with pytest.raises(RecipeError, match="router_stage.head = 'trained': this option is gone"):
        recipe_for(shipped.store.path, None, ["router_stage.head=trained"])


@pytest.mark.parametrize("key", RETIRED)
def test_a_user_learns_that_an_option_is_gone_and_what_holds_in_its_place(key, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(with_retired(key)))
    with pytest.raises(RecipeError) as caught:
        load(Recipe, tmp_path / "mine.yaml")
    assert "1 wrong option" in str(caught.value)
    said = f"{key} = {shown(VALUES[key])}: this option is gone, leave it out; {RETIRED[key]}"
    assert said in str(caught.value)
    with pytest.raises(RecipeError, match="this option is gone"):
        load(Recipe, None, [f"{key}=1"])


@pytest.mark.parametrize("key", RETIRED)
def test_what_is_stored_is_read_without_it(key):
    content = with_retired(key)
    recipe = validate(Recipe, content, "stored", stored=True)
    if section := key.rpartition(".")[0]:
        option, value = KEPT[section]
        assert getattr(getattr(recipe, section), option) == value
    assert content == with_retired(key)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_stored_value_moves_to_where_the_option_is_now(old, new):
    section, _, name = new.partition(".")
    content = with_retired(old)
    assert getattr(getattr(validate(Recipe, content, "stored", stored=True), section), name) == VALUES[old]
    own = 7 if VALUES[old] == 3 else 0.75
    stated = content | {section: {name: own}}
    assert getattr(getattr(validate(Recipe, stated, "stored", stored=True), section), name) == own


def test_of_several_stages_the_experts_values_count():
    each = {"joint": 16, "router_stage": 24, "expert": 8}
    content = {name: {"batch_size": size, "patience": size} for name, size in each.items()}
    training = validate(Recipe, content, "stored", stored=True).training
    assert (training.batch_size, training.patience) == (8, 8)
    text, lost = readable(yaml.safe_dump(content))
    assert yaml.safe_load(text)["training"] == {"batch_size": 8, "patience": 8}
    assert lost == [
        f"{name}.{key}" for name in ("joint", "router_stage") for key in ("batch_size", "patience")
    ]


def test_a_moved_value_is_validated_where_it_is_now():
    with pytest.raises(RecipeError, match="training.batch_size = 'many'"):
        validate(Recipe, {"expert": {"batch_size": "many"}}, "stored", stored=True)
    with pytest.raises(RecipeError, match="training = 3"):
        validate(Recipe, {"training": 3, "expert": {"patience": 3}}, "stored", stored=True)


def test_another_attention_than_half_of_the_width_is_refused_by_name():
    for head in ({"attention": 32}, {"width": 8, "attention": 8}, {"width": 8, "attention": "all"}):
        with pytest.raises(RecipeError, match=r"its recipe: head.attention is .*version of molex-adapt"):
            validate(Recipe, {"head": head}, "its recipe", stored=True)
    assert validate(Recipe, {"head": {"attention": 64}}, "its recipe", stored=True) == Recipe()
    with pytest.raises(RecipeError, match="head.width = 'wide'"):
        validate(Recipe, {"head": {"width": "wide", "attention": 8}}, "its recipe", stored=True)


def test_only_values_that_do_not_hold_any_more_are_lost():
    same = {
        "head": {"width": 8, "attention": 4, "dropout": 0.1},
        "data": {"crop_seconds": 3.0, "memory_gib": 9},
        "exemplars": {"seconds": 3.0},
        "joint": {"learning_rate": 1e-3, "head_learning_rate": 1e-3},
    }
    assert readable(yaml.safe_dump(same))[1] == []
    other = {"exemplars": {"seconds": 1.2}, "gate": {"certain": False}, "head": {"dropout": 0.2}}
    assert readable(yaml.safe_dump(other))[1] == ["exemplars.seconds", "head.dropout", "gate.certain"]


def test_what_is_fixed_is_what_the_code_does():
    stage = {
        "weight_decay": loop.WEIGHT_DECAY,
        "warmup": loop.WARMUP,
        "gradient_clip": loop.GRADIENT_CLIP,
        "twin_loss": stages.TWIN_LOSS,
    }
    interval = inspect.signature(measure).parameters
    shortest = {"joint": 1.0, "expert": stages.SHORTEST_CROP, "router_stage": stages.SHORTEST_CROP}
    assert {
        "head.dropout": DROPOUT,
        "data.min_seconds": inspect.signature(audit).parameters["min_seconds"].default,
        "data.split_seed": inspect.signature(assign_splits).parameters["seed"].default,
        **{f"{name}.{key}": value for name in shortest for key, value in stage.items()},
        **{f"{name}.shortest_crop": share for name, share in shortest.items()},
        "gate.confidence": interval["confidence"].default,
        "gate.bootstrap": interval["bootstrap"].default,
        "gate.certain": True,
    } == FIXED


@pytest.mark.parametrize("content", [None, [], {"joint": 3}, {"joint": None}, {"router_stage": ["head"]}])
def test_what_is_no_recipe_is_left_to_validation(content):
    assert without_retired(content) == content


def test_options_that_never_were_are_refused_in_what_is_stored_too():
    with pytest.raises(RecipeError, match="joint.heat = 1: unknown option"):
        validate(Recipe, {"joint": {"heat": 1}}, "stored", stored=True)


def test_a_recipe_to_reproduce_with_is_one_that_this_version_takes(shipped, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(
            [
                "reproduce",
                "world",
                "--registry",
                str(shipped.store.path),
                "--save-recipe",
                str(tmp_path / "r.yaml"),
            ]
        )
    stored = (shipped.store.path / "generations" / "1" / "recipe.yaml").read_text()
    assert load(Recipe, tmp_path / "r.yaml") == validate(Recipe, yaml.safe_load(stored), "r", stored=True)
    lost = readable(shipped.store.expert("world").recipe)[1]
    assert {*GONE} - {ATTENTION, MEMORY} < {*lost}
    assert f"this version has no {', '.join(lost)} any more" in " ".join(capsys.readouterr().err.split())
    text = dump(Recipe())
    assert readable(text) == (text, [])
    assert readable("[broken") == ("[broken", [])


def test_a_first_mixture_of_before_heard_no_drawn_conditions():
    then = {"data": {"split_seed": 0}, "joint": {"steps": 7}}
    stored = validate(Recipe, then, "recipe.yaml", stored=True)
    assert (stored.joint.draws, stored.joint.steps) == (0, 7)
    text, lost = readable(yaml.safe_dump(then))
    assert lost == [] and yaml.safe_load(text)["joint"] == {"steps": 7, "draws": 0}
    assert validate(Recipe, {"joint": {"steps": 7}}, "recipe.yaml", stored=True).joint.draws == 1
