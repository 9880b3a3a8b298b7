"""All cells of a plan, in processes of one thread each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.plan import Cell, Plan, digest
from benchmarks.provenance import code_of
from benchmarks.sequence.figures import averaged, figures_of
from benchmarks.sequence.run import load_run, prepare
from benchmarks.workbench import WORK
from molex_adapt.cli.progress import listening
from molex_adapt.recipe import dump
from molex_adapt.run import Run

AVERAGED = "averaged"
"""No method, but the detectors of `alone` together."""


def measure(
    plan: Plan,
    cells: list[Cell],
    speech: Path | None = None,
    work: Path = WORK / "sequence",
    workers: int | None = None,
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Figures of cells as they are done; a cell that was cut off goes on after the step it was in.

    Args:
        plan: whose.
        cells: of it.
        speech: one sub-folder per voice; None for Debian's prompts.
        work: folder of speech, features, raw scores and states.
        workers: processes; as many as the machine has cores where None.
    """
    workers = workers or os.cpu_count() or 1
    with listening(False) as progress:
        domains = prepare(plan, speech, work, Run(workers=workers, progress=progress))
    wanted: dict[Cell, list[Cell]] = {}
    for cell in cells:
        own = replace(cell, method="alone") if cell.method == AVERAGED else cell
        wanted.setdefault(own, []).append(cell)
    for own, path in _run(plan, list(wanted), speech, work, workers):
        run = load_run(path)
        for cell in wanted[own]:
            yield cell, figures_of(averaged(run) if cell.method == AVERAGED else run, domains)
        path.unlink()


def _run(
    plan: Plan, cells: list[Cell], speech: Path | None, work: Path, workers: int
) -> Iterator[tuple[Cell, Path]]:
    # Another plan, recipe or code goes on from nobody's scores and states.
    state = digest(
        [plan.model_dump(mode="json", exclude={"runs"}), dump(plan.resolved("")), code_of(plan.code)]
    )
    folder = work / f"cells-{state}"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "plan.yaml"
    copy.write_text(dump(plan))
    started = time.monotonic()

    def run(cell: Cell) -> Cell:
        if (folder / f"{cell.name}.npz").exists():  # done, but not yet kept, when the last call was cut off
            return cell
        passed = [f"--speech={speech}"] if speech else []
        command = [sys.executable, "-m", "benchmarks.sequence", str(copy), f"--work={work}", *passed]
        subprocess.run([*command, cell.method, *map(str, cell.arguments)], check=True)
        return cell

    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(run, cell) for cell in cells]
        for done, finished in enumerate(as_completed(running), start=1):
            left = (time.monotonic() - started) / done * (len(cells) - done)
            print(f"{done} of {len(cells)} cells; about {left / 60:.0f} min left", flush=True)
            yield finished.result(), folder / f"{finished.result().name}.npz"
