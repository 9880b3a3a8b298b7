"""The table of contents: every command and where it lives."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

import molex_adapt
from molex_adapt.cli.errors import reported
from molex_adapt.cli.output import show
from molex_adapt.cli.own_process import keep_few_programs, spare_the_collector
from molex_adapt.cli.several import as_one_of_several
from molex_adapt.cli.terminal import open_streams

_COMMANDS = {
    "Adapt": {
        "init": "init:init",
        "add-expert": "train:add_expert",
        "train": "train:train",
        "retrain-router": "train:retrain_router",
        "set-threshold": "train:set_threshold",
    },
    "Use": {
        "score": "score:score",
        "evaluate": "measure:evaluate",
        "analyze": "analyze:analyze",
        "export": "export:export",
        "cluster": "cluster:cluster",
    },
    "Data": {"data": "data:data"},
    "Make": {"simulate": "make:simulate", "demo": "make:demo"},
    "Hub": {"push": "hub:push", "pull": "hub:pull", "outdated": "hub:outdated"},
    "Registry": {
        "list": "registry:list_experts",
        "show": "registry:show",
        "history": "registry:history",
        "verify": "registry:verify",
        "rollback": "registry:rollback",
        "remove": "registry:remove",
        "reproduce": "reproduce:reproduce",
        "cache": "cache:cache",
    },
}
"""By panel and name: the module in `commands`, and what in it runs, a function or a Typer with commands of its own."""


@cache
def program(name: str | None = None) -> typer.Typer:
    """The command line: with the one command of that name, which is there sooner; else with all of them."""
    app = typer.Typer(
        name="molex-adapt",
        help="Keep an audio-deepfake detector current: one new expert per new attack, old ones untouched.",
        epilog="Start here: [bold]molex-adapt demo[/bold]. "
        "Exit status: 0 done, 1 failed, refused or done in part, 2 wrong usage.",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )
    app.callback()(options)
    known = {command for commands in _COMMANDS.values() for command in commands}
    for panel, commands in _COMMANDS.items():
        for command, place in commands.items():
            if name == command or name not in known:
                module, _, what = place.partition(":")
                found = getattr(import_module(f"molex_adapt.cli.commands.{module}"), what)
                if isinstance(found, typer.Typer):
                    app.add_typer(found, name=command, rich_help_panel=panel)
                else:
                    app.command(command, rich_help_panel=panel)(found)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        show(f"molex-adapt {molex_adapt.__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Keep an audio-deepfake detector current: one new expert per new attack, old ones untouched."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, refused or done in part, 2 wrong usage, 130 interrupted."""
    if arguments is None:  # nobody else's process
        spare_the_collector()
        keep_few_programs()
        arguments = sys.argv[1:]
    open_streams()
    with as_one_of_several(arguments[0] if arguments else ""), reported():
        program(arguments[0] if arguments else None)(args=arguments, prog_name="molex-adapt")


if __name__ == "__main__":
    main()
