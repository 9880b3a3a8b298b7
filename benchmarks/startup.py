"""How fast the command line is there, and how loading grows with the number of experts.

    python -m benchmarks.startup

Processes and loads take turns within every round. Writes results/startup.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.cost import interleaved, machine
from benchmarks.workbench import RESULTS
from molex_adapt.digest import sha256
from molex_adapt.registry import Store, files, layout
from molex_adapt.registry.assemble import build_detector
from molex_adapt.registry.draft import summaries
from molex_adapt.registry.records import ExpertEntry

SHIPPED = Path("registry")
FEW, MANY, LISTED = 4, 256, 5000
BARE = "import typer, rich"
HELLO = "import typer; app = typer.Typer(rich_markup_mode='rich'); app.command()(lambda: None); app()"


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_registry(Path(folder) / str(count), count, loadable=True) for count in (FEW, MANY))
        listed = _registry(Path(folder) / "listed", LISTED, loadable=False)
        candidates: dict[str, Callable[[], object]] = {
            "bare": _process("-c", BARE),
            "a typer program's --help": _process("-c", HELLO, "--help"),
            "--help": _command("--help"),
            "list": _command("list", "--registry", "registry"),
            f"list, {LISTED} experts": _command("list", "--registry", str(listed)),
            f"list --json, {LISTED} experts": _command("list", "--json", "--registry", str(listed)),
            f"load, {FEW} experts": lambda: build_detector(Store.open(few)),
            f"load, {MANY} experts": lambda: build_detector(Store.open(many)),
        }
        seconds = {name: median(times) for name, times in interleaved(candidates, rounds).items()}
    result = {"machine": machine(), "rounds": rounds, "seconds": seconds}
    print(json.dumps(result))
    (RESULTS / "startup.json").write_text(json.dumps(result, indent=1) + "\n")


def _process(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def _command(*arguments: str) -> Callable[[], object]:
    return _process("-m", "molex_adapt.cli.app", *arguments)


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


if __name__ == "__main__":
    main()
