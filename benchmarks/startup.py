"""How fast the command line is there, and how loading grows with the number of experts.

Processes and loads take turns within every round. Cells: `process`, by what it runs; `list` and `load`, by the number
of experts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.plan import Cell, Plan
from benchmarks.workbench import Candidate, in_turns
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.digest import sha256
from molex_adapt.recipe import Options
from molex_adapt.registry import Store, files, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.draft import summaries
from molex_adapt.registry.records import ExpertEntry

SHIPPED = Path("registry")
OVER = {"list": "bare", "score": "torch"}
"""Processes that are held against another: what they cannot do without."""
HELLO = "import typer; app = typer.Typer(rich_markup_mode='rich'); app.command()(lambda: None); app()"
PROCESSES = {
    "bare": ("-c", "import typer, rich"),
    "hello": ("-c", HELLO, "--help"),
    "help": ("-m", "molex_adapt", "--help"),
    "list": ("-m", "molex_adapt", "list", "--registry", str(SHIPPED)),
    "torch": ("-c", "import torch"),
    "transformers": ("-c", "import torch, transformers.models.wavlm.modeling_wavlm"),
    "score": ("-m", "molex_adapt", "score", "--registry", str(SHIPPED)),
}
"""What `process` runs; `hello` is the help of a program with no command of its own, and `score` gets a recording."""
SECONDS = 3


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
        figures = {"seconds": median(times[cell.name])}
        least = times.get(f"process {OVER.get(str(cell.arguments[0]))}") if cell.method == "process" else None
        yield cell, figures if least is None else figures | {"over": figures["seconds"] / median(least)}


def _candidate(cell: Cell, folder: Path) -> Candidate:
    what = cell.arguments[0]
    if cell.method == "process":
        return _process(*PROCESSES[str(what)], *([str(_recording(folder))] if what == "score" else []))
    made = _registry(folder / cell.name, int(what), loadable=cell.method == "load")
    if cell.method == "load":
        return lambda: build_detector(Store.open(made))
    return _process("-m", "molex_adapt.cli.app", "list", "--json", "--registry", str(made))


def _process(*arguments: str) -> Candidate:
    # An installed package is compiled; a checkout too after the first round, unless that is forbidden.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=own)


def _recording(folder: Path) -> Path:
    """Noise: what is in it takes no part in the time."""
    path = folder / "noise.wav"
    noise = np.random.default_rng(0).normal(0, 3000, SECONDS * SAMPLE_RATE).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    return path


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
