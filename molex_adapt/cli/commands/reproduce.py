"""The command that says how to make an expert again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from molex_adapt.cli.commands.registry import ExpertName
from molex_adapt.cli.options import DEFAULT_REGISTRY, Json, Quiet, RegistryFolder
from molex_adapt.cli.output import Answer, emit
from molex_adapt.errors import MolexError


def reproduce(
    name: ExpertName,
    save_recipe: Annotated[
        Path | None,
        typer.Option(
            "--save-recipe",
            metavar="FILE",
            help="Write the expert's recipe there, and name that file in the commands.",
            show_default=False,
        ),
    ] = None,
    registry: RegistryFolder = DEFAULT_REGISTRY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the commands that make an expert again, bit for bit.

    They work on a copy of the registry, brought back to where it was. The same
    data, versions and machine give the same weights; where they differ from
    those on record, a note says so.

    [bold]Examples[/bold]

      molex-adapt reproduce world
      molex-adapt reproduce world --save-recipe world.yaml
    """
    from molex_adapt.api import Registry
    from molex_adapt.atomic import write_output
    from molex_adapt.outputs import Kind, check_file
    from molex_adapt.recipe import readable

    if save_recipe is not None:
        check_file(save_recipe, Kind("a recipe", _is_recipe))
    found = Registry.open(registry).reproduce(name, save_recipe)
    if save_recipe is not None:
        write_output(save_recipe, readable(found.record.recipe)[0])
    lines = Text("\n".join(found.commands), no_wrap=True, overflow="ignore")
    emit(Answer(found.as_dict(), [lines], found.remarks), as_json=as_json, quiet=quiet)


def _is_recipe(path: Path) -> bool:
    from molex_adapt.plain import load_yaml
    from molex_adapt.recipe import Recipe, readable, validate

    try:
        content = load_yaml(readable(path.read_text(encoding="utf-8"))[0])
        validate(Recipe, content, str(path))
    except (ValueError, MolexError):
        return False
    return bool(content)  # a page of remarks alone is YAML too
