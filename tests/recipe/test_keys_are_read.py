"""Every key of a recipe is read by each command that it is meant for: a key that nothing reads misleads its user.

The demonstration's recipe is held to the same in tests/demo/test_run.py, where the demonstration runs anyhow.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from molex_adapt import Registry, Run
from molex_adapt.recipe import Options, Recipe

HOW = Run(workers=1, device="cpu")

STRUCTURE = {"lora.targets", "router.routing", "router.top_k", "head.width"}
"""What a mixture that is stored already is built from."""
MEANT: dict[str, set[str]] = {
    "train": {"lora.*", "router.*", "head.*", "data.*", "joint.*", "exemplars.*", "precision", "refused"}
    | {"training.batch_size", "training.patience", "training.router_learning_rate"},
    "add-expert": {"lora.*", "router.*", "data.*", "training.*", "expert.*", "router_stage.*", "exemplars.*"}
    | {"gate.*", "precision", *STRUCTURE},
    "retrain-router": {"router.*", "router_stage.*", "training.*", "data.*", "gate.tolerance"}
    | {"precision", *STRUCTURE},
    "score": {"data.window_seconds", "precision", *STRUCTURE},
    "evaluate": {"data.window_seconds", "data.split_by", "data.fractions", "precision"} | STRUCTURE,
}


@dataclass(frozen=True)
class Learnt:
    """A registry that has learnt one attack, its data, and a recipe that switches on what is off by default."""

    registry: Path
    data: Path
    recipe: Recipe


def leaves(kind: type[Options], above: str = "") -> Iterator[tuple[str, tuple[type[Options], str]]]:
    """Every option by its path, with the section that holds it."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Options):
            yield from leaves(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", (kind, name)


KEYS = dict(leaves(Recipe))


def expand(patterns: set[str]) -> set[str]:
    """The keys that patterns such as `joint.*` stand for."""
    found: set[str] = set()
    for pattern in patterns:
        section = pattern.removesuffix("*")
        named = {key for key in KEYS if key == pattern or (section != pattern and key.startswith(section))}
        assert named, f"{pattern} names no key"
        found |= named
    return found


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, tiny_folder_of, tiny_recipe, recorded) -> Learnt:
    folder = tmp_path_factory.mktemp("keys")
    data = recorded(folder / "data", bona_fide=12, buzz=12)
    recipe = tiny_recipe(gate={"tolerance": 1.0})
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    registry.add_expert(data, domain="buzz", recipe=recipe, run=HOW)
    return Learnt(folder / "registry", data, recipe)


def run(command: str, learnt: Learnt, folder: Path) -> None:
    recipe = learnt.recipe
    if command == "train":
        empty = Registry.create(folder / "empty", str(learnt.registry / "base"))
        empty.train(learnt.data, domain="buzz", experts=2, recipe=recipe, run=HOW)
        return
    registry = Registry.open(shutil.copytree(learnt.registry, folder / "registry"))
    if command == "score":
        registry.score(learnt.data, run=HOW)
    elif command == "evaluate":
        registry.evaluate(learnt.data, split="test", run=HOW)
    elif command == "retrain-router":
        registry.retrain_router(learnt.data, recipe=recipe, run=HOW)
    else:
        registry.add_expert(learnt.data, domain="hum", recipe=recipe, run=HOW)


@pytest.mark.parametrize("command", MEANT)
def test_a_command_reads_every_key_that_is_meant_for_it(command, learnt, tmp_path, recipe_reads):
    run(command, learnt, tmp_path)
    assert sorted(key for key in expand(MEANT[command]) if KEYS[key] not in recipe_reads) == []


def test_a_recipe_stays_short():
    assert len(KEYS) <= 35


def test_every_key_is_meant_for_a_command():
    assert sorted(KEYS.keys() - set().union(*map(expand, MEANT.values()))) == []


def test_a_key_that_is_only_validated_does_not_count_as_read(recipe_reads):
    recipe = Recipe.model_validate({"data": {"fractions": [0.5, 0.25, 0.25]}, "joint": {"steps": 3}})
    recipe.model_dump()
    assert recipe_reads == set()
    assert recipe.joint.steps == 3
    assert KEYS["joint.steps"] in recipe_reads
