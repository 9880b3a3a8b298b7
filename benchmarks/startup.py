"""How fast the command line is there, and how loading grows with the number of experts.

Processes and loads take turns within every round. Cells: `process`, by what it runs; `list` and `load`, by the number
of experts.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import Candidate, in_turns
from molex_adapt.digest import sha256
from molex_adapt.recipe import Options
from molex_adapt.registry import Store, files, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.draft import summaries
from molex_adapt.registry.records import ExpertEntry

SHIPPED = Path("registry")
HELLO = "import typer; app = typer.Typer(rich_markup_mode='rich'); app.command()(lambda: None); app()"
PROCESSES = {
    "bare": ("-c", "import typer, rich"),
    "hello": ("-c", HELLO, "--help"),
    "help": ("-m", "molex_adapt.cli.app", "--help"),
}
"""What `process` runs; `hello` is the help of a program with no command of its own."""


class Settings(Options):
    """How it is measured."""

    rounds: int = 7


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Seconds of each, all in turns."""
    with tempfile.TemporaryDirectory() as folder:
        times = in_turns(
            {cell.name: _candidate(cell, Path(folder)) for cell in cells}, plan.settings_as(Settings).rounds
        )
    for cell in cells:
        yield cell, {"seconds": median(times[cell.name])}


def _candidate(cell: Cell, folder: Path) -> Candidate:
    what = cell.arguments[0]
    if cell.method == "process":
        return _process(*PROCESSES[str(what)])
    made = _registry(folder / cell.name, int(what), loadable=cell.method == "load")
    if cell.method == "load":
        return lambda: build_detector(Store.open(made))
    return _process("-m", "molex_adapt.cli.app", "list", "--json", "--registry", str(made))


def _process(*arguments: str) -> Candidate:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def _registry(folder: Path, count: int, *, loadable: bool) -> Path:
    """The shipped registry with `count` experts under new names, all copies of one; weights only where loadable."""
    store = Store.copy(SHIPPED, folder)
    generation, template = store.generation(), store.experts()[0]
    experts = [template.model_copy(update={"name": f"expert-{number}"}) for number in range(count)]
    for expert in experts:
        place = layout.expert_folder(folder, expert.name)
        place.mkdir()
        text = (layout.expert_folder(folder, template.name) / layout.EXPERT).read_text()
        (place / layout.EXPERT).write_text(text.replace(f"name: {template.name}", f"name: {expert.name}", 1))
        if loadable:
            shutil.copy(layout.expert_folder(folder, template.name) / layout.ADAPTER, place)
    router = store.router_tensors()
    for key, rows in router.items():
        if key.endswith(".rows"):
            router[key] = np.repeat(rows[:1], count, axis=0)
    content = {layout.ROUTER: files.dump_tensors(router), layout.SUMMARIES: summaries(experts)}
    record = generation.model_copy(
        update={
            "experts": [ExpertEntry(name=item.name, sha256=str(item.weights_sha256)) for item in experts],
            "files": generation.files | {name: sha256(body) for name, body in content.items()},
        }
    )
    place = layout.generation_folder(folder, generation.number)
    for name, body in (content | {layout.GENERATION: files.dump_record(record)}).items():
        (place / name).write_bytes(body)
    return folder
