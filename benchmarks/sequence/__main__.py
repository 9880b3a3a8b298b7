"""One cell, in this process; `python -m benchmarks sequence` starts all of a plan."""

from __future__ import annotations

import argparse
from pathlib import Path

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
    options = parser.parse_args()
    cell = Cell(options.method, (options.order, options.seed))
    plan, state = load(Plan, options.plan), options.plan.parent / f"{cell.name}.state.safetensors"
    torch.set_num_threads(1)
    domains = prepare(plan, options.domains, options.work, Run(workers=1))
    save_run(run_cell(cell, plan, domains, Silent(), state), options.plan.parent / f"{cell.name}.safetensors")
    state.unlink()


if __name__ == "__main__":
    main()
