"""What MkDocs makes pages of besides docs/: files that stand elsewhere in the repository and stay there.

A hook of mkdocs.yml. Links in all pages are those of the repository, so that they work on its host too; here they are
turned into those of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
    "tools/wideband/README.md": "tools/wideband/README.md",
    "tools/wideband/weights/README.md": "tools/wideband/weights/README.md",
}
"""By path in the repository: the path among the site's sources."""
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for path, source in OUTSIDE.items():
        files.append(File.generated(config, source, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between sources of the site."""
    return with_links_of_the_site(markdown, page.file.src_uri)


def with_links_of_the_site(markdown: str, source: str) -> str:
    """The text of the page at `source`, its links led from the repository's paths to the site's."""
    at = {kept: path for path, kept in OUTSIDE.items()}.get(source, f"docs/{source}")

    def led(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(at), found[1]))
        there = OUTSIDE.get(path, posixpath.relpath(path, "docs"))
        return f"]({posixpath.relpath(there, posixpath.dirname(source) or '.')}{found[2] or ''})"

    return _LINK.sub(led, markdown)
