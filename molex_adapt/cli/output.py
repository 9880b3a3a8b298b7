"""The one output helper: results to stdout, as tables or as one JSON object; everything else to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from molex_adapt.cli.errors import explain
from molex_adapt.cli.terminal import terminal
from molex_adapt.errors import MolexError
from molex_adapt.processes import is_first

if TYPE_CHECKING:
    from molex_adapt.data import Failed


@dataclass(frozen=True)
class Answer:
    """What a command has to say."""

    data: Mapping[str, Any]
    """JSON values, for `--json`."""
    view: Sequence[RenderableType] = ()
    """The same for people."""
    remarks: Sequence[str] = ()
    """Worth knowing beside it; on stderr."""
    ok: bool = True
    """False makes the exit status 1 (the operation ran and was refused or found faults)."""
    failed: int = 0
    """Parts of the work that failed while the rest was done; any makes the exit status 1 unless allowed."""
    fault: MolexError | None = None
    """What went wrong when all was done, such as a disk that filled up; told last."""
    kept: str | None = None
    """What is in force whether or not the answer can be printed, such as an active generation."""


def emit(answer: Answer, *, as_json: bool, quiet: bool = False, allow_failures: bool = False) -> None:
    """Print an answer and, unless it is well, exit with status 1; of several processes, the first does.

    Raises:
        MolexError: a figure is not a finite number, or the answer's own fault.
        typer.Exit: the answer is not ok, or a part of the work failed and that is not allowed.
    """
    if not is_first():
        return
    failed = 0 if allow_failures else answer.failed
    try:
        _print(answer, as_json)
    except KeyboardInterrupt:
        if answer.kept is not None:
            remark([f"{answer.kept}, but the report was interrupted"])
        raise
    except (MolexError, OSError) as error:
        if answer.kept is None:
            raise
        # The exit status says whether it is in force, not whether somebody could read it.
        _forget_stdout()
        if not isinstance(error, BrokenPipeError):
            remark([f"{answer.kept}, but the report could not be printed: {explain(error)}"])
    if not quiet:
        remark(answer.remarks)
        if failed:
            remark([f"recordings that failed: {failed}; so the exit status is 1, or 0 with --allow-failures"])
    if answer.fault is not None:
        raise answer.fault
    if failed or not answer.ok:
        raise typer.Exit(1)


def _print(answer: Answer, as_json: bool) -> None:
    console = stdout()
    if as_json:
        console.file.write(to_json(answer.data) + "\n")
    else:
        show(*answer.view)
    console.file.flush()


def _forget_stdout() -> None:
    """Let nothing more be written there: the interpreter would try again at its end, and complain in its own way."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def broken(failed: Iterable[Failed]) -> int:
    """How many recordings failed; what training leaves out by a rule of its own did not."""
    return sum(not item.by_rule for item in failed)


def show(*parts: RenderableType) -> None:
    """Print renderables to stdout."""
    if parts:
        stdout().print(Group(*parts), crop=False)


def remark(lines: Iterable[str]) -> None:
    """Print lines to stderr."""
    console = terminal(stderr=True)
    for line in lines:
        console.print(Text.assemble(("note: ", "yellow"), line), soft_wrap=True)


def stdout() -> Console:
    """Where results go; paths and figures stay uncoloured and unbroken.

    Raises:
        MolexError: stdout is closed.
    """
    if sys.stdout is None:
        raise MolexError(
            "standard output is closed, so the result cannot be printed. Send it somewhere: > FILE, or > /dev/null"
        )
    return terminal()


def to_json(data: Mapping[str, Any]) -> str:
    """One JSON object in ASCII.

    Raises:
        MolexError: a figure is NaN or infinite; a file that holds one is no JSON.
    """
    for path, value in _numbers(data, ""):
        if not math.isfinite(value):
            raise MolexError(
                f"the result's {path} is {value}, which is no figure. Expected a finite number. This is a fault of "
                "molex-adapt or of damaged weights: run molex-adapt verify, and report it"
            )
    return json.dumps(data, allow_nan=False)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _numbers(item, f"{path}[{number}]")
