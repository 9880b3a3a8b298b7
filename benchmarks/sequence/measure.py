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
from threading import Lock
from typing import Any

from benchmarks.plan import Cell, Plan, digest
from benchmarks.provenance import code_of
from benchmarks.sequence.figures import averaged, figures_of
from benchmarks.sequence.run import load_run, prepare
from benchmarks.sequence.settings import Settings
from benchmarks.workbench import WORK
from molex_adapt.cli.progress import listening
from molex_adapt.recipe import dump
from molex_adapt.run import Run

AVERAGED = "averaged"
"""No method, but the detectors of `alone` together."""


def measure(
    plan: Plan,
    cells: list[Cell],
    domains: Path = WORK / "domains",
    work: Path = WORK / "sequence",
    workers: int | None = None,
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Figures of cells as they are done; a cell that was cut off goes on after the step it was in.

    Args:
        plan: whose.
        cells: of it.
        domains: folder of manifests, as `python -m tools.wideband.domains` writes them.
        work: folder of features, scores and states.
        workers: processes; as many as the machine has cores where None.
    """
    workers = workers or os.cpu_count() or 1
    with listening(False) as progress:
        data = prepare(plan, domains, work, Run(workers=workers, progress=progress))
    settings = plan.settings_as(Settings)
    wanted: dict[Cell, list[Cell]] = {}
    for cell in cells:
        own = replace(cell, method="alone") if cell.method == AVERAGED else cell
        wanted.setdefault(own, []).append(cell)
    for own, path in _run(plan, list(wanted), domains, data.digest, work, workers):
        run, _ = load_run(path)
        for cell in wanted[own]:
            yield cell, figures_of(averaged(run) if cell.method == AVERAGED else run, data, settings)
        path.unlink()


def _run(
    plan: Plan, cells: list[Cell], domains: Path, data: str, work: Path, workers: int
) -> Iterator[tuple[Cell, Path]]:
    # Another plan, recipe, code or choice of recordings goes on from nobody's scores and states.
    deciding = plan.model_dump(mode="json", exclude={"runs", "tuning"})
    state = digest([deciding, dump(plan.resolved("")), code_of(plan.code), data])
    folder = work / f"cells-{state}"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "plan.yaml"
    copy.write_text(dump(plan))
    started = time.monotonic()
    handing_over = Lock()

    def run(cell: Cell) -> Cell:
        with handing_over:  # a pool that a failing cell has closed would take no more
            pass
        if (
            folder / f"{cell.name}.safetensors"
        ).exists():  # done, but not yet kept, when the last call was cut off
            return cell
        folders = [f"--domains={domains}", f"--work={work}"]
        parent = f"--parent={os.getpid()}"
        command = [sys.executable, "-m", "benchmarks.sequence", str(copy), *folders, parent]
        try:
            subprocess.run([*command, cell.method, *map(str, cell.arguments)], check=True)
        except BaseException:
            # What runs beside it is waited for and stays on disk; hours of more do not begin.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return cell

    with ThreadPoolExecutor(workers) as pool:
        with handing_over:
            running = [pool.submit(run, cell) for cell in cells]
        for done, finished in enumerate(as_completed(running), start=1):
            left = (time.monotonic() - started) / done * (len(cells) - done)
            print(f"{done} of {len(cells)} cells; about {left / 60:.0f} min left", flush=True)
            yield finished.result(), folder / f"{finished.result().name}.safetensors"
