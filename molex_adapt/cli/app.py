"""The table of contents: every command and where it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import molex_adapt
from molex_adapt.cli.commands import analyze, cache, hub, make, measure, registry, reproduce, score, train
from molex_adapt.cli.errors import reported
from molex_adapt.cli.output import show
from molex_adapt.cli.terminal import open_streams

app = typer.Typer(
    name="molex-adapt",
    help="Keep an audio-deepfake detector current: one new expert per new attack, old ones untouched.",
    epilog="Start here: [bold]molex-adapt demo[/bold]. Exit status: 0 done, 1 failed or refused, 2 wrong usage.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Adapt": {
        "init": train.init,
        "add-expert": train.add_expert,
        "train": train.train,
        "retrain-router": train.retrain_router,
        "set-threshold": train.set_threshold,
    },
    "Use": {"score": score.score, "evaluate": measure.evaluate, "analyze": analyze.analyze},
    "Make": {"simulate": make.simulate, "demo": make.demo},
    "Hub": {"push": hub.push, "pull": hub.pull, "outdated": hub.outdated},
    "Registry": {
        "list": registry.list_experts,
        "show": registry.show,
        "history": registry.history,
        "verify": registry.verify,
        "rollback": registry.rollback,
        "remove": registry.remove,
        "reproduce": reproduce.reproduce,
    },
}
for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)
app.add_typer(cache.cache, name="cache", rich_help_panel="Registry")


def _print_version(asked: bool) -> None:
    if asked:
        show(f"molex-adapt {molex_adapt.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Keep an audio-deepfake detector current: one new expert per new attack, old ones untouched."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed or refused, 2 wrong usage, 130 interrupted."""
    open_streams()
    with reported():
        app(args=arguments, prog_name="molex-adapt")


if __name__ == "__main__":
    main()
