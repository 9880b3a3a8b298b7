"""Options that several commands share, each defined once; and what they come to."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molex_adapt.cli.progress import listening

if TYPE_CHECKING:
    from molex_adapt.recipe import Recipe
    from molex_adapt.run import Run

DEFAULT_REGISTRY = Path("registry")

_RUN = "How to run"

RegistryFolder = Annotated[
    Path,
    typer.Option(
        "--registry",
        envvar="MOLEX_REGISTRY",
        help="The registry to work on.",
        file_okay=False,
        rich_help_panel=_RUN,
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="YAML file, or the name of a shipped recipe. Without it: the registry's own.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one option of the recipe, such as lora.rank=4; may be repeated.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option(
        "--device", help="Where to compute; auto takes an accelerator if there is one.", rich_help_panel=_RUN
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    typer.Option(
        "--precision",
        help="What to compute in; auto takes bf16 where it is fast. Without it: as the generation's recipe says.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", min=0, max=2**31 - 1, help="Decides all chance.", rich_help_panel=_RUN
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        max=256,
        help="Processes that decode or forge recordings. Without it: one per core.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where this very command was interrupted; the result is that of a run that never stopped.",
        rich_help_panel=_RUN,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of tables.", rich_help_panel=_RUN)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.", rich_help_panel=_RUN)
]
AllowFailures = Annotated[
    bool,
    typer.Option(
        "--allow-failures",
        help="Exit with 0 although some recordings failed; without it that is 1, after all others are done.",
        rich_help_panel=_RUN,
    ),
]
Domain = Annotated[
    str,
    typer.Option(
        "--domain", metavar="NAME", help="What the expert is for, such as codec_x.", show_default=False
    ),
]
Licence = Annotated[
    str,
    typer.Option(
        "--licence",
        metavar="ID",
        help="Of the new expert, for its card, such as cc-by-4.0.",
        show_default=False,
    ),
]


@contextmanager
def running(
    quiet: bool = False,
    *,
    device: str = "auto",
    precision: Precision = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = False,
) -> Iterator[Run]:
    """The `Run` that a command's options come to; its progress shows on stderr as long as the context lasts."""
    from molex_adapt.run import Run

    with listening(quiet) as progress:
        yield Run(
            device=device,
            precision=precision,
            seed=seed,
            workers=workers or _cores(),
            progress=progress,
            command=shlex.join(["molex-adapt", *sys.argv[1:]]),
            resume=resume,
        )


def _cores() -> int:
    """How many of them this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def recipe_for(registry: Path, recipe: Path | None, overrides: list[str] | None) -> Recipe | None:
    """The recipe that the options amount to.

    Args:
        registry: where the recipe comes from when only overrides are given.
        recipe: a file, or the name of a shipped recipe.
        overrides: of the form key.path=value.

    Returns:
        None where no option says anything: the library then takes the registry's own recipe, or the defaults.

    Raises:
        RecipeError: no such recipe, or wrong options in it.
    """
    if recipe is None and not overrides:
        return None
    from molex_adapt.api import Registry
    from molex_adapt.recipe import Recipe, load, with_overrides

    if recipe is None:
        return with_overrides(Registry.open(registry).recipe(), overrides)
    return load(Recipe, recipe_file(recipe), overrides)


def recipe_file(recipe: Path) -> Path:
    """A path as it is; a bare name is that of a shipped recipe."""
    from molex_adapt.shipped import recipe_path

    bare = recipe.name == str(recipe) and recipe.suffix not in (".yaml", ".yml")
    return recipe_path(str(recipe)) if bare and not recipe.is_file() else recipe
