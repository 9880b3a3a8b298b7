"""The one format of plans: which measurement, on what, with which recipe, options and seeds.

A plan lies in plans/NAME.yaml, its results in results/NAME.json. Its `settings` are the measurement's own, validated by
the measurement's module; everything else means the same in every plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from molex_adapt.digest import sha256
from molex_adapt.errors import RecipeError
from molex_adapt.plain import load_yaml
from molex_adapt.recipe import Options, Recipe, load, validate
from molex_adapt.shipped import recipe_path

ROOT = Path(__file__).parents[1]
PLANS = ROOT / "benchmarks" / "plans"

S = TypeVar("S", bound=Options)


@dataclass(frozen=True)
class Cell:
    """One row of a plan: a method, or a shape, and what it is run with."""

    method: str
    arguments: tuple[str | int, ...]

    @property
    def name(self) -> str:
        """As its row is called."""
        return " ".join(str(part) for part in (self.method, *self.arguments))


class Variant(Options):
    """Another way to do it: a method called NAME+VARIANT is NAME with the variant's options.

    Attributes:
        about: what is asked.
        options: `key=value` of the recipe.
    """

    about: str
    options: list[str]


class Trial(Options):
    """Options of a method that were tried.

    Attributes:
        options: in words or as `key=value`.
        found: what they reached where choices may be made, a fraction.
        chosen: whether the plan measures the method with them.
    """

    options: str
    found: float | None = None
    chosen: bool = False


class Plan(Options):
    """Everything that decides a measurement's figures, but code and machine."""

    measurement: str
    """The module below `benchmarks` that measures."""
    recipe: str = "shipped"
    """A shipped recipe, by name."""
    reads: list[str] = Field([])
    """Sections of the recipe, or single settings such as `expert.steps`, that decide the figures; of none, no recipe
    does."""
    reads_of: dict[str, list[str]] = Field({})
    """The same of a method that reads others."""
    files: list[str] = Field([])
    """YAML files beside the recipe that decide the figures, e.g. a generation of the shipped registry."""
    options: list[str] = Field([])
    """`key=value` of the recipe, for every method."""
    variants: dict[str, Variant] = Field({})
    beside: str | None = None
    """A plan of the same cells on another base, which the page sets this one beside."""
    code: list[str]
    """Modules and packages of `molex_adapt` and `benchmarks` that decide the figures."""
    settings: dict[str, Any] = Field({})
    tuning: dict[str, list[Trial]] = Field({})
    """Per method, everything that was tried; a method without trials was not tuned."""
    runs: dict[str, list[str | int | list[str | int]]] = Field(min_length=1)
    """Per method, the arguments of its cells, e.g. pairs of order and seed."""

    @property
    def cells(self) -> list[Cell]:
        """All rows."""
        return [
            Cell(method, tuple(each) if isinstance(each, list) else (each,))
            for method, cells in self.runs.items()
            for each in cells
        ]

    @property
    def digest(self) -> str:
        """Of what decides a cell's figures; not of which cells there are, nor of the recipe, which each row names."""
        return digest(self.model_dump(mode="json", include={"measurement", "settings"}))

    def settings_as(self, kind: type[S]) -> S:
        """The measurement's own settings, validated.

        Raises:
            RecipeError: unknown keys or bad values.
        """
        return validate(kind, self.settings, f"settings of {self.measurement}")

    def resolved(self, method: str) -> Recipe:
        """The whole recipe that a method runs with.

        Raises:
            KeyError: no such variant.
            RecipeError: an option that recipes do not know.
        """
        variant = method.partition("+")[2]
        own = self.variants[variant].options if variant else []
        return load(Recipe, recipe_path(self.recipe), [*self.options, *own])

    def deciding(self, method: str) -> dict[str, Any]:
        """What decides the method's figures: of that recipe, values by section or setting; of files, digests.

        Raises:
            RecipeError: as `resolved`, or a section that recipes do not have.
        """
        resolved = self.resolved(method).model_dump(mode="json")
        found: dict[str, Any] = {name: self._digest_of(name) for name in self.files}
        for key in self.reads_of.get(method.partition("+")[0], self.reads):
            value: Any = resolved
            for part in key.split("."):
                if not isinstance(value, dict) or part not in value:
                    raise RecipeError(
                        f"plan of {self.measurement}: recipes have no {key}. Mend `reads` there"
                    )
                value = value[part]
            found[key] = value
        return found

    def _digest_of(self, name: str) -> str:
        if not (ROOT / name).is_file():
            raise RecipeError(f"plan of {self.measurement}: there is no {name}. Mend `files` there")
        return digest(load_yaml((ROOT / name).read_text(encoding="utf-8")))


def read_plan(name: str, folder: Path = PLANS) -> Plan:
    """A plan by its name.

    Raises:
        RecipeError: no such plan, or one that says what plans cannot.
    """
    return load(Plan, folder / f"{name}.yaml")


def plan_names(folder: Path = PLANS) -> list[str]:
    """Of all plans, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def digest(content: Any) -> str:
    """16 digits that stand for a JSON value."""
    return sha256(json.dumps(content, sort_keys=True))[:16]
