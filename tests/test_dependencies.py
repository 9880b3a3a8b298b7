"""What pyproject.toml declares is imported, and what is imported is declared where whoever imports it has it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = ("molex_adapt", "tools", "benchmarks", "tests")

EXTRAS = {
    "simulate": "simulate",
    "tts": "simulate",
    "parquet": "data cluster",
    "export": "exported",
    "datasets": "data",
    "ray": "cluster",
    "report": "analysis plots",
    "demo": "simulate",
}
"""Which sub-package needs an extra; `dev` is what tests, tools and benchmarks need besides, `docs` the site."""


def names(requirements: list[str]) -> set[str]:
    """Distributions, without versions and without our own extras."""
    found = {re.match(r"[\w.-]+", item)[0].lower() for item in requirements}
    return found - {"molex-adapt"}


CORE = names(PROJECT["project"]["dependencies"])
EXTRA = {extra: names(items) for extra, items in PROJECT["project"]["optional-dependencies"].items()}
DECLARED = CORE.union(*EXTRA.values())


@cache
def provided(name: str) -> frozenset[str]:
    """The modules that a distribution brings."""
    found = distribution(name)
    listed = (found.read_text("top_level.txt") or "").split()
    inside = {
        Path(str(item)).parts[0] for item in found.files or () if str(item).endswith((".py", ".so", ".pyd"))
    }
    return frozenset({*listed, *(inspect.getmodulename(item) or item for item in inside)})


def optional(tree: ast.Module) -> Iterator[str]:
    """Modules that a file loads by their name: `load_optional("pyworld", ...)`, or `load_optional(*_PIPER)`."""
    texts = {
        target.id: node.value.elts[0]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and node.value.elts
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "load_optional",
            "find_spec",
        ):
            first = node.args[0]
            first = texts[first.value.id] if isinstance(first, ast.Starred) else first
            if isinstance(first, ast.Constant):
                yield first.value


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level names of the foreign modules that a file imports, and whether as soon as it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [(name, False) for name in optional(tree)] if "molex_adapt" in path.parts else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in tree.body) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.module, node in tree.body))
    for name, at_once in found:
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in OURS:
            yield top, at_once


@pytest.fixture(scope="module")
def found() -> list[tuple[Path, str, bool]]:
    """File, module, at once."""
    return [
        (path.relative_to(ROOT), *found)
        for folder in OURS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for found in imports(path)
    ]


def given(path: Path) -> set[str]:
    """The distributions that a file may import from."""
    if path.parts[0] != "molex_adapt":
        return DECLARED
    return CORE.union(*(EXTRA[extra] for extra, part in EXTRAS.items() if path.parts[1] in part.split()))


def test_what_is_imported_is_declared(found):
    missing = {
        f"{path} imports {module}"
        for path, module, _ in found
        if not any(module in provided(name) for name in given(path))
    }
    assert not missing


def test_an_extra_is_imported_where_it_is_needed_and_not_before(found):
    core = set().union(*map(provided, CORE))
    early = {
        f"{path} imports {module}"
        for path, module, at_once in found
        if path.parts[0] == "molex_adapt" and at_once and module not in core
    }
    assert not early


@pytest.mark.parametrize("name", sorted(CORE.union(*(EXTRA[extra] for extra in EXTRAS))))
def test_what_users_install_is_imported_by_the_package(name, found):
    assert provided(name) & {module for path, module, _ in found if path.parts[0] == "molex_adapt"}


@pytest.mark.parametrize("name", sorted(EXTRA["dev"]))
def test_what_developers_install_is_used(name, found):
    imported = {module for _, module, _ in found}
    commands = {item.name for item in distribution(name).entry_points if item.group == "console_scripts"}
    plugin = any(item.group == "pytest11" for item in distribution(name).entry_points)
    stubs_of = name.removeprefix("types-")
    assert (
        provided(name) & imported
        or {name, *commands} & set(re.findall(r"\$\(BIN\)/(\w+)", (ROOT / "Makefile").read_text()))
        or (plugin and "pytest" in EXTRA["dev"])
        or name in names(PROJECT["build-system"]["requires"])
        or (stubs_of != name and stubs_of in CORE)
    )
    assert name not in CORE, "users have it already"


@pytest.mark.parametrize("name", sorted(EXTRA["docs"]))
def test_what_makes_the_site_is_named_where_it_is_made(name):
    settings = (ROOT / "Makefile").read_text() + (ROOT / "mkdocs.yml").read_text()
    assert set(name.split("-")) <= set(re.findall(r"\w+", settings))


def test_every_extra_has_its_place():
    assert EXTRA.keys() == {*EXTRAS, "docs", "dev"}
