"""Learn a sequence of attacks by every method; every cell is kept, so that the whole can be finished in parts.

    python -m benchmarks.sequence
    python -m benchmarks.sequence --methods ours replay
    python -m benchmarks.sequence --methods ours --again
    python -m benchmarks.sequence --plan benchmarks/sequence/ablations.yaml

Writes NAME.json, NAME.md and NAME.png after the plan's name. Cells that NAME.json has of the same plan are not run
again, on whatever machine they were made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch

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
    parser.add_argument("--work", type=Path, help="folder of speech, features and raw scores")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--again", action="store_true", help="run cells anew that are there")
    parser.add_argument(
        "--cell", nargs=3, metavar=("METHOD", "ORDER", "SEED"), help="one cell, in this process"
    )
    options = parser.parse_args()
    options.work = options.work or WORK / options.plan.stem
    plan = read_plan(options.plan)
    if options.cell:
        method, order, seed = options.cell
        _one(Cell(method=method, order=int(order), seed=int(seed)), plan, options)
        return
    wanted = cells(plan, options.methods)
    path = options.out / f"{options.plan.stem}.json"
    kept = Kept.load(path, plan)
    missing = [cell for cell in wanted if options.again or cell.name not in kept.runs]
    if missing:
        _complete(missing, plan, kept, options, path)
    kept.save(path, plan)
    write_page(list(kept.runs.values()), plan, kept.domains, path)


def _complete(missing: list[Cell], plan: Plan, kept: Kept, options: argparse.Namespace, path: Path) -> None:
    """Run cells, and keep the figures of each as soon as it is done."""
    with listening(False) as progress:
        domains = prepare(plan, options.speech, options.base, options.work, options.workers, progress)
    if options.again:
        for cell in missing:
            (_folder(options) / f"{cell.name}.npz").unlink(missing_ok=True)
    kept.domains = {name: described(domains, name) for name in domains.tables}
    for cell in _run(missing, options):
        run = load_run(_folder(options) / f"{cell.name}.npz")
        for found in (run, averaged(run)) if cell.method == "alone" else (run,):
            kept.add(figures_of(found, domains))
        kept.save(path, plan)


def _one(cell: Cell, plan: Plan, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    domains = prepare(plan, options.speech, options.base, options.work, 1, Silent())
    folder = _folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{cell.name}.state"
    save_run(run_cell(cell, plan, domains, options.base, Silent(), state), folder)
    state.unlink()


def _folder(options: argparse.Namespace) -> Path:
    """Where raw scores of this plan's cells lie; another plan has another folder."""
    folder: Path = options.work / f"cells-{fingerprint(read_plan(options.plan))}"
    return folder


def _run(wanted: list[Cell], options: argparse.Namespace) -> Iterator[Cell]:
    """Cells as they are done, in processes of one thread each; those that are there already come at once."""
    missing = [cell for cell in wanted if not (_folder(options) / f"{cell.name}.npz").exists()]
    yield from (cell for cell in wanted if cell not in missing)
    started = time.monotonic()
    passed = [f"--{name}={getattr(options, name)}" for name in ("plan", "base", "work")]
    passed += [f"--speech={options.speech}"] if options.speech else []

    def run(cell: Cell) -> Cell:
        command = [sys.executable, "-m", "benchmarks.sequence", *passed]
        subprocess.run([*command, "--cell", cell.method, str(cell.order), str(cell.seed)], check=True)
        return cell

    with ThreadPoolExecutor(max(1, options.workers)) as pool:
        running = [pool.submit(run, cell) for cell in missing]
        for done, finished in enumerate(as_completed(running), start=1):
            taken = time.monotonic() - started
            left = taken / done * (len(missing) - done)
            cell = finished.result()
            print(f"{cell.name} done, {done} of {len(missing)}; about {left / 60:.0f} min left", flush=True)
            yield cell


if __name__ == "__main__":
    main()
