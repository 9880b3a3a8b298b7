"""The site of the documentation: whole, of the present commands, and nothing in it comes from elsewhere."""

from __future__ import annotations

import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer.main
from mkdocs.commands.build import build
from mkdocs.config import load_config

from molex_adapt.cli.app import program
from tools.cli_reference import PAGE, reference
from tools.site_pages import OUTSIDE, ROOT, with_links_of_the_site


class Loaded(HTMLParser):
    """Addresses that a page loads by itself, without anybody following a link."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag != "a" and names.get("rel") != "canonical":
            self.addresses += [
                names[name] or "" for name in ("src", "href", "srcset", "data") if name in names
            ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; building fails where a link, an anchor or an entry of the navigation leads nowhere."""
    folder = tmp_path_factory.mktemp("site")
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def test_the_reference_of_the_command_line_is_current():
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/cli.md is not that of the commands; write it anew: python -m tools.cli_reference"
    )


def test_the_reference_has_every_command_and_every_option():
    text = reference()
    for name, command in typer.main.get_command(program()).commands.items():  # type: ignore[attr-defined]
        section = text.partition(f"\n### molex-adapt {name}\n")[2].partition("\n### ")[0]
        assert section, name
        options = {option for item in command.params for option in item.opts if option.startswith("--")}
        for option in options - {"--help"}:
            assert re.search(rf"^- `.*{re.escape(option)}\b", section, re.M), f"{name} {option}"
        assert max(map(len, section.splitlines())) <= 110


def test_pages_outside_docs_are_pages_of_the_site(site):
    for page in OUTSIDE.values():
        made = site / re.sub(r"(README|index)\.md$", "index.html", page).replace(".md", ".html")
        assert "<article" in made.read_text(encoding="utf-8")


def test_the_python_api_is_that_of_the_docstrings(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("api.Registry.add_expert", "api.Registry.score", "api.Run.seed", "errors.HubError"):
        assert f'id="molex_adapt.{name}"' in page
    assert 'id="molex_adapt.reports.StageReport"' in page
    assert "every old one stays bit-identical" in page


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        for address in Loaded(page.read_text(encoding="utf-8")).addresses:
            assert not re.match(r"\w+:(?!image)|//", address), f"{page.relative_to(site)}: {address}"
            if address and not address.startswith(("#", "data:")) and page.name != "404.html":
                assert (page.parent / re.split(r"[?#]", address)[0]).exists(), f"{page.name}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8"))


def test_links_of_the_pages_lead_somewhere_in_the_repository_too():
    """The build holds those of the site, and anchors in both."""
    links = {
        (page, link)
        for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / path for path in OUTSIDE)]
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in link
    }
    assert len(links) > 30
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("source", "link", "led"),
    [
        ("index.md", "docs/data.md#what-of-a-file-is-heard", "data.md#what-of-a-file-is-heard"),
        ("index.md", "benchmarks/RESULTS.md", "benchmarks/RESULTS.md"),
        ("speech.md", "../tools/wideband/README.md", "tools/wideband/README.md"),
        ("model-card.md", "../README.md#measured", "index.md#measured"),
        ("tools/wideband/README.md", "weights/README.md", "weights/README.md"),
        ("hub.md", "https://host/docs/data.md", "https://host/docs/data.md"),
        ("hub.md", "#tokens", "#tokens"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(source, link, led):
    assert with_links_of_the_site(f"[page]({link})", source) == f"[page]({led})"
