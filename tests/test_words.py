"""One word is one thing, and a letter in a shape is defined where a reader looks for it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import molex_adapt

PACKAGE = Path(molex_adapt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

DIMENSION = r"(?:Σ?[A-Z](?:_\w+)?'?(?: [+·*-] \w)?|\d+|\.\.\.)"
SHAPE = re.compile(rf"\(({DIMENSION}(?:, ?{DIMENSION})*,?)\)")
LETTER = re.compile(r"(?<![\w'])[A-Z](?:_\w+)?'?(?!\w)")


def documented(path: Path) -> list[str]:
    """Every docstring of a module, its own first, and those below attributes."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = [
        node.value.value
        for node in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return [text for text in texts if isinstance(text, str)]


def defined(text: str) -> set[str]:
    """The letters of the sentence that begins with "Shapes:"."""
    found = re.search(r"^ *Shapes: ([^.]*)\.", text, re.MULTILINE)
    return set(LETTER.findall(found[1])) if found else set()


COMMON = defined(documented(PACKAGE / "conventions.py")[0])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_letters_of_shapes_are_defined(path):
    texts = documented(path)
    known = COMMON | (defined(texts[0]) if texts else set())
    shapes = {found[0] for text in texts for found in SHAPE.finditer(text)}
    unknown = {shape: letters for shape in shapes if (letters := set(LETTER.findall(shape)) - known)}
    assert not unknown


def test_no_two_classes_have_one_name():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []


def test_words_that_meant_several_things_are_in_the_list_and_name_no_module():
    for word in ("gate", "stage", "router row", "acceptance", "finish"):
        assert re.search(rf"^    {word}  ", molex_adapt.__doc__, re.MULTILINE), word
    assert not {"gate.py", "stage.py", "rows.py"} & {path.name for path in MODULES}


def test_the_common_letters_are_there():
    assert {"B", "T", "F", "D", "L", "E", "K", "R", "D_in", "T'"} <= COMMON
    assert defined("What it is.\n\n    Shapes: M rows, R_e one's rank. A word.") == {"M", "R_e"}
