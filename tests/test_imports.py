"""Imports point downwards only, and what needs no torch does not load it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import molex_adapt

PACKAGE = Path(molex_adapt.__file__).parent

LEVELS = [
    {"__main__"},
    {"cli"},
    {"demo"},
    {"api"},
    {"train", "analyze", "pretrain", "hub"},
    {"registry"},
    {"routing"},
    {"features"},
    {"prefix_cache"},
    {"detector"},
    {"mixture"},
    {"base", "head", "simulate"},
    {"evaluation"},
    {"scorefile", "reports"},
    {"data"},
    {"calibration"},
    {"attention", "metrics", "recipe", "run", "schedule"},
    {"outputs"},
    {"atomic", "cache", "digest", "plain", "progress", "shipped"},
    {"text"},
    {"errors", "conventions"},
]
"""From the top down. A module imports from levels below its own; inside one package, from wherever it likes."""

LIGHT = [
    "molex_adapt",
    "molex_adapt.cli.app",
    "molex_adapt.cache",
    "molex_adapt.calibration",
    "molex_adapt.data",
    "molex_adapt.hub",
    "molex_adapt.metrics",
    "molex_adapt.recipe",
    "molex_adapt.registry.store",
    "molex_adapt.run",
    "molex_adapt.reports",
    "molex_adapt.scorefile",
    "molex_adapt.simulate",
]
HEAVY = ["torch", "transformers", "peft", "scipy", "av", "pyworld", "sklearn", "matplotlib"]


def units() -> list[str]:
    """Sub-packages and top-level modules."""
    found = [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    found += [path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    return sorted(found)


def imported(path: Path) -> set[str]:
    """Sub-packages and top-level modules of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {part[1] for part in parts if part[0] == "molex_adapt" and len(part) > 1}
    return found & set(units())


def files(unit: str) -> list[Path]:
    single = PACKAGE / f"{unit}.py"
    return [single] if single.exists() else sorted((PACKAGE / unit).rglob("*.py"))


def level(unit: str) -> int:
    for number, names in enumerate(LEVELS):
        if unit in names:
            return number
    raise AssertionError(f"molex_adapt.{unit} stands in no level of {__name__}; give it one")


@pytest.mark.parametrize("unit", units())
def test_imports_point_downwards(unit):
    upwards = [
        f"{path.relative_to(PACKAGE)} imports molex_adapt.{other}"
        for path in files(unit)
        for other in sorted(imported(path) - {unit})
        if level(other) <= level(unit)
    ]
    assert not upwards


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_do_not_load_heavy_libraries(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_only_typer_is_imported_never_click():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "click"], path
