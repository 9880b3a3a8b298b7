"""Everything that only a graphics card can show, in at most eight minutes, into one JSON.

    make gpu                                      where some Python here has a torch that sees a card
    python3 -m benchmarks.gpu --out gpu.json      with this very Python; it needs neither .venv nor a network
    python -m benchmarks.gpu --tiny               on a CPU, small: that everything runs, and nothing about speed

Each part is a process of its own with its own time; one that fails or is stopped leaves what it found, and the rest
goes on. Without --tiny a card is needed, and the results go to benchmarks/results/gpu.json. Exit status 1: a part
failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.targets import judged

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "gpu.json"
PARTS = {
    "checks": 90,
    "parity": 50,
    "cost": 120,
    "training": 75,
    "analysis": 45,
    "commands": 65,
    "kernels": 30,
}
"""Seconds that each may take, its start included."""
LEAST = 15
"""Seconds that a part needs to be worth beginning."""
MINUTES = 7.9
"""All together, if no other number is given."""


def main() -> None:
    """Read the command line; one part, or all of them."""
    options = _options()
    device = "cpu" if options.tiny else "cuda"
    if options.part:
        _run_part(options.part, device, options.tiny, Path(options.into), options.seconds)
        return
    # A part, in its own process, needs neither plan nor results.
    from benchmarks.plan import Cell, read_plan
    from benchmarks.provenance import code_of
    from benchmarks.results import Results

    plan, machine = read_plan("gpu"), _machine(device)
    results, code = Results.of(plan), code_of(plan.code)
    out = options.out or (None if options.tiny else RESULTS)
    print(f"{machine['card'] or machine['processor']}, torch {machine['torch']}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a part does not outlive this process
    started, parts = time.monotonic(), dict[str, Any]()
    for name in options.parts:
        left = 60 * options.minutes - (time.monotonic() - started)
        # Two slow cores that others share take longer over little than a card over much.
        limit = min(PARTS[name] * (5 if options.tiny else 1), left)
        parts[name] = _in_process(name, options.tiny, limit)
        results.add(plan, Cell("tiny" if options.tiny else "card", (name,)), parts[name], code, machine)
        if out is not None:
            results.save(out)
    for target in [] if options.tiny else judged(parts):
        print(
            f"{'met   ' if target['met'] else 'MISSED'} {target['what']}: {target['found']:.3g} of {target['most']:g}"
        )
    print(f"{time.monotonic() - started:.0f} s" + (f", written to {out}" if out is not None else ""))
    sys.exit(any(part["status"] != "done" for part in parts.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="small, on the CPU")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the JSON goes")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--minutes", type=float, help="at most, all parts together")
    for hidden in ("--part", "--into"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.minutes is None:
        options.minutes = MINUTES * (5 if options.tiny else 1)
    return options


def _machine(device: str) -> dict[str, Any]:
    """What is measured on: as all results say it, and what a card is besides."""
    import torch
    import transformers

    from benchmarks.provenance import machine

    about = machine() | {"python": platform.python_version(), "transformers": transformers.__version__}
    if device == "cpu":
        return about | {"card": None}
    if not torch.cuda.is_available():
        sys.exit(
            f"{sys.executable} has torch {torch.__version__}, which sees no CUDA card. Name a Python whose torch does: "
            "make gpu GPU_PYTHON=python3. To try that everything runs, on a CPU: python -m benchmarks.gpu --tiny"
        )
    card = torch.cuda.get_device_properties(0)
    return about | {
        "memory_gib": card.total_memory / 2**30,
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _in_process(name: str, tiny: bool, seconds: float) -> dict[str, Any]:
    """A part's findings and how it ended."""
    print(f"{name}, at most {seconds:.0f} s", flush=True)
    started = time.monotonic()
    if seconds < LEAST:
        return {"status": "left out: no time", "seconds": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--into", str(into)]
        command += ["--seconds", str(seconds), *(["--tiny"] if tiny else [])]
        ran = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            code = ran.wait(seconds)
            status = "done" if code == 0 else f"failed: exit status {code}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
        finally:
            if ran.poll() is None:  # whatever it started is of its session
                os.killpg(ran.pid, signal.SIGKILL)
                ran.wait()
        found = json.loads(into.read_text()) if into.exists() else {}
    if status == "done" and (wrong := _errors(found)):
        status = f"failed: {', '.join(wrong)}"
    taken = time.monotonic() - started
    print(f"{name}: {status}, {taken:.0f} s", flush=True)
    return {"status": status, "seconds": taken, **found}


def _errors(found: Any, place: str = "") -> list[str]:
    """Where findings are errors."""
    if not isinstance(found, dict):
        return []
    if "error" in found:
        return [place]
    return [wrong for key, value in found.items() for wrong in _errors(value, f"{place}/{key}".lstrip("/"))]


def _run_part(name: str, device: str, tiny: bool, into: Path, seconds: float) -> None:
    """In this process; an exception is a finding."""
    until = time.monotonic() + seconds - 2  # what starting took is already gone
    import torch

    from benchmarks.gpu.setting import Findings, Setting, told

    found = Findings(into)
    try:
        part = importlib.import_module(f"benchmarks.gpu.{name}")
        part.run(Setting(torch.device(device), tiny, until), found)
    except Exception as error:
        found.add("stopped", {"error": told(error)})
        raise


if __name__ == "__main__":
    main()
