"""Options and arguments that several commands share, each defined once; and what they come to."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molex_adapt.cli.progress import listening
from molex_adapt.processes import on_this_machine

if TYPE_CHECKING:
    from molex_adapt.recipe import Recipe
    from molex_adapt.run import Run

DEFAULT_REGISTRY = Path("registry")
DATA_HELP = (
    "Folder with bonafide/ and spoof/<attack>/, manifest (CSV, TSV, JSONL, Parquet), folder of a published corpus, or "
    "hf://datasets/OWNER/NAME; behind it, parts: DIR#eval."
)
_option = partial(typer.Option, rich_help_panel="How to run")

LabelledData = Annotated[Path, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
RegistryFolder = Annotated[
    Path,
    _option("--registry", envvar="MOLEX_REGISTRY", help="The registry to work on.", file_okay=False),
]
RecipeFile = Annotated[
    Path | None,
    _option(
        "--recipe",
        metavar="FILE",
        help="YAML file, or the name of a shipped recipe. Without it: the registry's own.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    _option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one option of the recipe, such as lora.rank=4; may be repeated.",
        show_default=False,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    _option("--device", help="Where to compute; auto takes an accelerator if there is one."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    _option(
        "--precision",
        help="What to compute in; auto takes bf16 where it is fast. Without it: as the generation's recipe says.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    _option("--seed", metavar="N", min=0, max=2**31 - 1, help="Decides all chance."),
]
Workers = Annotated[
    int | None,
    _option(
        "--workers",
        metavar="N",
        min=1,
        max=256,
        help="Processes that decode or forge recordings. Without it: one per core.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    _option(
        "--resume",
        help="Go on where this very command was interrupted; the result is that of a run that never stopped.",
    ),
]
MicroBatch = Annotated[
    int | None,
    _option(
        "--micro-batch",
        metavar="N",
        min=1,
        help="Recordings that pass at once in training: less memory, more time, the same result but for rounding. "
        "Without it: all.",
        show_default=False,
    ),
]
Json = Annotated[bool, _option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, _option("--quiet", "-q", help="No progress and no remarks on stderr.")]
AllowFailures = Annotated[
    bool,
    _option(
        "--allow-failures",
        help="Exit with 0 although some recordings failed; without it that is 1, after all others are done.",
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
    allow_failures: bool = False,
    micro_batch: int | None = None,
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
            allow_failures=allow_failures,
            micro_batch=micro_batch,
        )


def _cores() -> int:
    """How many of them this process may use; several processes divide them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // on_this_machine()[1])


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


def check_rates(prior: float, error: float) -> None:
    """Refuse an impossible prior, or a rate of wrong decisions that no score reaches, as wrong usage."""
    if not 0 < prior < 1:
        raise typer.BadParameter("--prior is a probability between 0 and 1, such as 0.5 or 0.99")
    if not 0 < error <= 0.5:
        raise typer.BadParameter("--error is a rate above 0 and up to 0.5, such as 0.3")
