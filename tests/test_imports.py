"""Imports point downwards only, and what needs no torch does not load it."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

import molex_adapt
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.shipped import registry_path

PACKAGE = Path(molex_adapt.__file__).parent

LEVELS = [
    {"__main__"},
    {"cli"},
    {"cluster", "demo"},
    {"api"},
    {"train", "analysis", "hub"},
    {"registry"},
    {"rehearsal", "routing"},
    {"exported", "features", "published"},
    {"prefix_cache"},
    {"detector"},
    {"mixture"},
    {"base", "head", "simulate"},
    {"evaluation", "plots"},
    {"tandem", "truth", "scoretable"},
    {"tandem_parts"},
    {"scorefile", "reports", "trialfile"},
    {"findings", "readout", "windows"},
    {"data"},
    {"calibration", "decision"},
    {"attention", "low_level", "metrics", "recipe", "run", "schedule", "witnesses"},
    {"cache", "outputs"},
    {
        "atomic",
        "chance",
        "control",
        "digest",
        "pages",
        "plain",
        "processes",
        "progress",
        "shipped",
        "workers",
    },
    {"text"},
    {"errors", "conventions", "version"},
]
"""From the top down. A module imports from levels below its own; inside one package, anything but a circle."""

LIGHT = [
    "molex_adapt",
    "molex_adapt.api",
    "molex_adapt.cli.app",
    "molex_adapt.cache",
    "molex_adapt.calibration",
    "molex_adapt.data",
    "molex_adapt.exported",
    "molex_adapt.hub",
    "molex_adapt.metrics",
    "molex_adapt.recipe",
    "molex_adapt.registry.store",
    "molex_adapt.run",
    "molex_adapt.reports",
    "molex_adapt.scorefile",
    "molex_adapt.simulate",
    "molex_adapt.windows",
    "benchmarks.report.pages",
]
HEAVY = [
    "altair",
    "vl_convert",
    "torch",
    "transformers",
    "peft",
    "scipy",
    "av",
    "pyworld",
    "sklearn",
    "matplotlib",
]


def modules() -> dict[str, Path]:
    """Every module of the package by its full name; a package by that of its __init__."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def named(path: Path) -> list[str]:
    """Every name that a file imports, wherever in it: under TYPE_CHECKING and inside functions as well."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def above(module: str) -> set[str]:
    """A module and the packages that it lies in."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def imported(module: str, path: Path) -> set[str]:
    """Modules of ours that a module imports; with one comes the __init__ of every package that it lies in.

    The packages that the importing module itself lies in are there already when it is imported.
    """
    found = set()
    for name in named(path):
        place = name if name in MODULES else name.rpartition(".")[0]
        if place in MODULES:
            found |= {place} | (above(place) - above(module))
    return found - {module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """A circle through each module that can be reached from itself."""
    found = []
    for start in sorted(graph):
        ways = {name: [start, name] for name in sorted(graph[start])}
        left = list(ways)
        while left and start not in ways:
            for name in sorted(graph[left.pop(0)] - ways.keys()):
                ways[name] = [*ways[next(at for at in ways if name in graph[at])], name]
                left.append(name)
        if start in ways:
            found.append(ways[start])
    return found


def unit(module: str) -> str:
    """The sub-package or top-level module that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def level(name: str) -> int:
    for number, names in enumerate(LEVELS):
        if name in names:
            return number
    raise AssertionError(f"molex_adapt.{name} stands in no level of {__name__}; give it one")


def test_no_two_modules_import_each_other():
    found = circles({module: imported(module, path) for module, path in MODULES.items()})
    assert not found, "\n".join(" -> ".join(circle) for circle in found)


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"d2"}, "d2": set(), "e": {"a"}}
    assert circles(graph) == [["a", "b", "c", "a"], ["b", "c", "a", "b"], ["c", "a", "b", "c"]]


@pytest.mark.parametrize("name", sorted({unit(module) for module in MODULES} - {"molex_adapt"}))
def test_imports_point_downwards(name):
    upwards = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if unit(module) == name
        for other in sorted(imported(module, path) - {"molex_adapt"})
        if unit(other) != name and level(unit(other)) <= level(name)
    ]
    assert not upwards


def test_the_command_line_calls_the_api_and_never_reaches_around_it():
    ways = {
        "analysis",
        "base",
        "cache",
        "detector",
        "exported",
        "features",
        "head",
        "hub",
        "mixture",
        "prefix_cache",
    }
    ways |= {"registry", "routing", "train"}
    around = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if unit(module) == "cli"
        for other in sorted(imported(module, path))
        if unit(other) in ways
    ]
    assert not around


def loaded(code: str, *names: str) -> list[str]:
    """Which of some libraries a new process has loaded after running code; what it prints goes nowhere."""
    code = (
        "import contextlib, io, sys\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    {code}\n"
        f"print(*[name for name in {names!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_do_not_load_heavy_libraries(module):
    assert loaded(f"import {module}", *HEAVY) == []


@pytest.mark.parametrize("command", ["--help", "list", "show", "history", "analyze"])
def test_commands_that_need_no_model_load_no_heavy_libraries(command):
    arguments = [command] if command == "--help" else [command, "--registry", str(registry_path())]
    assert loaded(f"from molex_adapt.cli.app import main; main({arguments!r})", *HEAVY) == []


def test_a_listing_loads_neither_numpy_nor_what_writes():
    code = f"from molex_adapt.cli.app import main; main(['list', '--registry', {str(registry_path())!r}])"
    assert loaded(code, "typer", "numpy", "filelock", "molex_adapt.cli.commands.train") == ["typer"]


def test_scoring_loads_only_the_libraries_that_it_needs(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE), SAMPLE_RATE)
    arguments = ["score", str(path), "--quiet", "--registry", str(registry_path())]
    others = ["peft", "sklearn", "pandas", "pyarrow", "altair", "vl_convert", "matplotlib", "pyworld"]
    needed = ["torch", "transformers.models.wavlm.modeling_wavlm"]
    assert loaded(f"from molex_adapt.cli.app import main; main({arguments!r})", *needed, *others) == needed


def test_only_typer_is_imported_never_click():
    for path in MODULES.values():
        assert not [name for name in named(path) if name.split(".")[0] == "click"], path


@cache
def used(path: Path) -> set[str]:
    """Dotted names of what a file calls or imports; a rename by `Path.replace`, with its one argument, as "rename"."""
    found = set(named(path))
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found.add(ast.unparse(node.func))
            if node.func.attr == "rename" or (node.func.attr == "replace" and len(node.args) == 1):
                found.add("rename")
    return found


ONE_PLACE = {
    "atomic": {"os.replace", "os.rename", "os.fsync", "rename", "tempfile.mkstemp"},
    "digest": {"hashlib"},
    "plain": {"yaml.load", "yaml.safe_load", "yaml.dump", "yaml.safe_dump"},
}
"""Mechanisms that one module holds for all."""


@pytest.mark.parametrize("place", ONE_PLACE)
def test_a_mechanism_has_one_module(place):
    found = {module for module, path in MODULES.items() if used(path) & ONE_PLACE[place]}
    assert found == {f"molex_adapt.{place}"}
