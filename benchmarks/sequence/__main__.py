"""One cell, in this process; `python -m benchmarks sequence` starts all of a plan."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from threading import Thread

import torch

from benchmarks.plan import Cell, Plan
from benchmarks.sequence.run import prepare, run_cell, save_run
from molex_adapt.progress import Silent
from molex_adapt.recipe import load
from molex_adapt.run import Run


def main() -> None:
    """Read the command line, run, write the scores beside the plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("method")
    parser.add_argument("order", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--domains", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="process without which this one ends")
    options = parser.parse_args()
    if options.parent is not None:
        Thread(target=end_with, args=(options.parent,), daemon=True).start()
    cell = Cell(options.method, (options.order, options.seed))
    plan, state = load(Plan, options.plan), options.plan.parent / f"{cell.name}.state.safetensors"
    torch.set_num_threads(1)
    domains = prepare(plan, options.domains, options.work, Run(workers=1))
    save_run(run_cell(cell, plan, domains, Silent(), state), options.plan.parent / f"{cell.name}.safetensors")
    state.unlink()


def end_with(parent: int, every: float = 2.0) -> None:
    """Watch a process, and end this one when it is gone: who is killed cannot end what it started."""
    while os.getppid() == parent:
        time.sleep(every)
    os._exit(1)


if __name__ == "__main__":
    main()
