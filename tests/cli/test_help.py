"""Help that fits the screen, and whose examples are commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import molex_adapt
from molex_adapt.cli.app import program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(program()).commands  # type: ignore[attr-defined]


def examples(text: str) -> list[str]:
    lines = [line.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in text.splitlines()]
    return [line for line in lines if line.startswith("molex-adapt ")]


def check(line: str) -> None:
    _, command, *rest = shlex.split(line.split(">", maxsplit=1)[0], comments=True)
    assert command in COMMANDS, line
    called = COMMANDS[command]
    if below := getattr(called, "commands", None):
        assert rest[0] in {*below, "--help"}, line
        called = below.get(rest[0], called)
    known = {name for item in called.params for name in (*item.opts, *item.secondary_opts)}
    for word in rest:
        assert not word.startswith("-") or word in {*known, "--help"}, line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_an_example_that_works(run, name):
    ran = run(name, "--help")
    assert ran.status == 0
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    found = examples(COMMANDS[name].help)
    assert any(line.startswith(f"molex-adapt {name}") for line in found)
    for line in found:
        check(line)
        assert line in ran.out  # not broken over two lines


def test_every_command_of_the_pages_exists():
    fenced = [part for page in PAGES for part in page.read_text(encoding="utf-8").split("```")[1::2]]
    found = examples("\n".join(fenced))
    assert len(found) > 20
    for line in found:
        check(line)


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not leads_somewhere(link)] == []


def leads_somewhere(link: str) -> bool:
    """Whether the file of a link of the README exists, and the heading that the link names in it."""
    name, _, anchor = link.partition("#")
    if not (ROOT / name).exists():
        return False
    if not anchor:
        return True
    headings = re.findall(r"^#+ (.+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_a_link_to_a_heading_that_is_not_there_is_found():
    assert leads_somewhere("tools/wideband/README.md#what-the-low-level-view-hears")
    assert not leads_somewhere("tools/wideband/README.md#what-nobody-wrote")
    assert not leads_somewhere("tools/nothing.md")


def test_the_tree_of_the_code_names_every_part():
    text = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")
    package = Path(molex_adapt.__file__).parent
    parts = [f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()]
    parts += [path.name for path in package.glob("*.py") if not path.name.startswith("__")]
    assert [part for part in parts if f" {part} " not in text] == []


def test_version_and_overview(run):
    assert run("--version").out == f"molex-adapt {molex_adapt.__version__}\n"
    overview = run("--help")
    assert overview.status == 0
    assert all(f" {name} " in overview.out for name in COMMANDS)
