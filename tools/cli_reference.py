"""Write docs/cli.md, the reference of the command line, from the commands themselves.

    python -m tools.cli_reference

`tests/tools/test_site.py` holds the page to the commands.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from molex_adapt.cli.app import program

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
WIDTH = 80
_HEAD = """\
<!-- Made by `python -m tools.cli_reference`; change the commands, not this page. -->

# Command line

Every command with its arguments, options and defaults, as its `--help` (`-h`)
has them. [Commands](commands.md) explains more, and what `--json` holds.
"""
_TITLE = re.compile(r"\[bold\](.*?)\[/bold\]")
_TAG = re.compile(r"`[^`]*`|<(?=[a-z])")
"""What stands as code, and what Markdown would take for HTML elsewhere."""


def reference() -> str:
    """The page."""
    root: Any = typer.main.get_command(program())
    context = root.make_context("molex-adapt", [], resilient_parsing=True)
    return "\n".join([_HEAD, *_command(root, context, 2)])


def _command(command: Any, context: Any, level: int) -> Iterator[str]:
    """A command, and those below it; `level` is that of its heading."""
    yield f"{'#' * level} {context.command_path}\n"
    yield f"`{' '.join([context.command_path, *command.collect_usage_pieces(context)])}`\n"
    yield from _help(command.help or "")
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        records = [_record(item, context) for item in command.params if item.param_type_name == kind]
        if records:
            yield f"**{title}**\n"
            yield "\n".join(records) + "\n"
    if command.epilog:
        yield from _help(command.epilog)
    for name in getattr(command, "commands", {}):
        inner = command.get_command(context, name)
        yield from _command(inner, type(context)(inner, info_name=name, parent=context), level + 1)


def _record(parameter: Any, context: Any) -> str:
    """An item of a list: how it is written, and what it says of itself."""
    written, said = parameter.get_help_record(context)
    return _filled(f"- `{written}`: {said}", "  ")


def _help(text: str) -> Iterator[str]:
    """Paragraphs; what follows a bold title is indented, and are commands."""
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.startswith("  "):
            yield _fenced(textwrap.dedent(part))
        else:
            yield _filled(_TITLE.sub(r"**\1**", part)) + "\n"


def _fenced(commands: str) -> str:
    return f"```sh\n{commands.strip()}\n```\n"


def _filled(text: str, indent: str = "") -> str:
    text = _TAG.sub(lambda found: "&lt;" if found[0] == "<" else found[0], " ".join(text.split()))
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
