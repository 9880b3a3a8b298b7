"""Learn a sequence of attacks by every method; every cell is kept, so that the whole can be finished in parts.

    python -m benchmarks.sequence
    python -m benchmarks.sequence --methods ours replay
    python -m benchmarks.sequence --methods ours --again
    python -m benchmarks.sequence --methods ours --variant frame --set router.routing=frame

Writes results/sequence.json, sequence.md and sequence.png; a variant's cells go by METHOD+VARIANT. Cells that
sequence.json has of the same plan are not run again, on whatever machine they were made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.sequence.domains import restrict
from benchmarks.sequence.figures import averaged, figures_of
from benchmarks.sequence.kept import Kept, described, fingerprint
from benchmarks.sequence.page import write_page
from benchmarks.sequence.plan import PLAN, Cell, Plan, cells, read_plan
from benchmarks.sequence.run import load_run, prepare, run_cell, save_run
from benchmarks.workbench import RESULTS, WORK
from molex_adapt.cli.progress import listening
from molex_adapt.progress import Silent


def main() -> None:
    """Read the command line; run what is missing, in processes of one thread each; write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--base", type=Path, default=Path("registry/base"))
    parser.add_argument("--speech", type=Path, help="one sub-folder per voice; without it Debian's prompts")
    parser.add_argument("--work", type=Path, default=WORK / "sequence")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--again", action="store_true", help="run cells anew that are there")
    parser.add_argument("--variant", default="")
    parser.add_argument("--subset", default="", help="of the plan")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--cell", nargs=3, metavar=("METHOD", "ORDER", "SEED"), help="one cell, in this process"
    )
    options = parser.parse_args()
    plan = read_plan(options.plan)
    if options.cell:
        method, order, seed = options.cell
        _one(Cell(method=method, order=int(order), seed=int(seed)), plan, options)
        return
    wanted = cells(plan, options.methods)
    if options.variant:
        wanted = [cell.model_copy(update={"method": f"{cell.method}+{options.variant}"}) for cell in wanted]
    chosen = plan.only(options.subset) if options.subset else plan
    kept = Kept.load(options.out / "sequence.json", chosen)
    missing = [cell for cell in wanted if options.again or cell.name not in kept.runs]
    if missing:
        _complete(missing, plan, kept, options)
    kept.save(options.out / "sequence.json", chosen)
    write_page(list(kept.runs.values()), chosen, kept.domains, options.out)


def _complete(missing: list[Cell], plan: Plan, kept: Kept, options: argparse.Namespace) -> None:
    """Run cells, and take their figures among those that are kept."""
    with listening(False) as progress:
        domains = prepare(plan, options.speech, options.base, options.work, options.workers, progress)
    if options.again:
        for cell in missing:
            (_folder(options) / f"{cell.name}.npz").unlink(missing_ok=True)
    _run(missing, options)
    if options.subset:
        domains = restrict(domains, plan.only(options.subset))
    kept.domains = {name: described(domains, name) for name in domains.tables}
    for cell in missing:
        run = load_run(_folder(options) / f"{cell.name}.npz")
        for found in (run, averaged(run)) if cell.method == "alone" else (run,):
            kept.add(figures_of(found, domains))


def _one(cell: Cell, plan: Plan, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    domains = prepare(plan, options.speech, options.base, options.work, 1, Silent())
    if options.subset:
        plan = plan.only(options.subset)
        domains = restrict(domains, plan)
    folder = _folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{cell.name}.state"
    save_run(run_cell(cell, plan, domains, options.base, options.set, Silent(), state), folder)
    state.unlink()


def _folder(options: argparse.Namespace) -> Path:
    """Where raw scores of this plan's cells lie; another plan has another folder."""
    plan = read_plan(options.plan)
    chosen = plan.only(options.subset) if options.subset else plan
    folder: Path = options.work / f"cells-{fingerprint(chosen)}"
    return folder


def _run(wanted: list[Cell], options: argparse.Namespace) -> None:
    missing = [cell for cell in wanted if not (_folder(options) / f"{cell.name}.npz").exists()]
    started = time.monotonic()
    passed = [f"--{name}={getattr(options, name)}" for name in ("plan", "base", "work", "subset")]
    passed += [f"--set={item}" for item in options.set]
    passed += [f"--speech={options.speech}"] if options.speech else []

    def run(cell: Cell) -> Cell:
        command = [sys.executable, "-m", "benchmarks.sequence", *passed]
        subprocess.run([*command, "--cell", cell.method, str(cell.order), str(cell.seed)], check=True)
        return cell

    with ThreadPoolExecutor(max(1, options.workers)) as pool:
        for done, cell in enumerate(pool.map(run, missing), start=1):
            taken = time.monotonic() - started
            left = taken / done * (len(missing) - done)
            print(f"{cell.name} done, {done} of {len(missing)}; about {left / 60:.0f} min left", flush=True)


if __name__ == "__main__":
    main()
