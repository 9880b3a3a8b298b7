"""Options that are gone: passed over in what a registry stored, refused in what a user gives."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.cli.options import recipe_for
from molex_adapt.errors import RecipeError
from molex_adapt.recipe import Recipe, dump, load, readable, validate
from molex_adapt.recipe.retired import RETIRED, retired_keys, without_retired
from molex_adapt.shipped import registry_path

KEPT = {"joint": "steps", "expert": "steps", "router_stage": "steps", "exemplars": "replay", "head": "width"}
KEPT |= {"data": "window_seconds", "gate": "tolerance"}
VALUES = {"head.attention": 64, "expert.batch_size": 24, "expert.patience": 3, "expert.replay_share": 0.25}
VALUES |= {"expert.router_learning_rate": 0.5}
"""Of retired options that are looked at: what they are carried to, or what cannot be built, depends on them."""


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
        (content[section] if section else content)[name] = VALUES.get(key, "frozen")
    return yaml.safe_dump(content, sort_keys=False)


def with_retired(key: str) -> dict[str, object]:
    section, _, name = key.rpartition(".")
    value = VALUES.get(key, "frozen")
    return {section: {name: value, KEPT[section]: kept_in(section)}} if section else {name: value}


def kept_in(section: str) -> float:
    return {"head": 128, "gate": 0.5}.get(section, 3)


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
    value = repr(VALUES.get(key, "frozen"))
    assert f"{key} = {value}: this option is gone, leave it out; {RETIRED[key]}" in str(caught.value)
    with pytest.raises(RecipeError, match="this option is gone"):
        load(Recipe, None, [f"{key}=1"])


@pytest.mark.parametrize("key", RETIRED)
def test_what_is_stored_is_read_without_it(key):
    content = with_retired(key)
    recipe = validate(Recipe, content, "stored", stored=True)
    if section := key.rpartition(".")[0]:
        assert getattr(getattr(recipe, section), KEPT[section]) == kept_in(section)
    assert content == with_retired(key)


def test_what_the_expert_stage_had_for_itself_holds_for_all():
    own = {key.partition(".")[2]: value for key, value in VALUES.items() if key.startswith("expert.")}
    recipe = validate(Recipe, {"expert": own, "joint": {"batch_size": 7}}, "stored", stored=True)
    assert recipe.training.model_dump() == own
    stored = {"expert": {"batch_size": 8}, "training": {"patience": 2}}  # of a version that has the section
    assert without_retired(stored)["training"] == {"patience": 2}


@pytest.mark.parametrize("attention", [5, "8", None, {}])
def test_a_head_that_cannot_be_built_any_more_is_refused(attention):
    stored = {"head": {"width": 16, "attention": attention}}
    with pytest.raises(RecipeError, match="stored: head.attention = .* builds heads whose attention is half"):
        validate(Recipe, stored, "stored", stored=True)
    text = yaml.safe_dump(stored)
    assert readable(text) == (text, [])


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
    record = yaml.safe_load((shipped.store.path / "experts" / "world" / "expert.yaml").read_text())
    stored = record["recipe"]
    assert load(Recipe, tmp_path / "r.yaml") == validate(Recipe, yaml.safe_load(stored), "r", stored=True)
    assert f"this version has no {', '.join(RETIRED)} any more" in " ".join(capsys.readouterr().err.split())
    text = dump(Recipe())
    assert readable(text) == (text, [])
    assert readable("[broken") == ("[broken", [])
