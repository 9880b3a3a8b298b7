from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from molex_adapt.cli import output
from molex_adapt.cli.tables import plain_table


@pytest.fixture
def shown(monkeypatch) -> Callable[[list[tuple[str, str]]], list[str]]:
    def lines(rows: list[tuple[str, str]]) -> list[str]:
        file = io.StringIO()
        monkeypatch.setattr(output, "stdout", lambda: Console(file=file, width=40))
        output.show(plain_table("names", ("name", "n"), rows))
        return file.getvalue().splitlines()

    return lines


def test_a_long_table_has_every_row_aligned_and_whole(shown):
    names = ["短い", "x" * 60, *(f"expert-{number}" for number in range(600))]
    lines = shown([(name, "7") for name in names])
    assert lines[0] == "names" and lines[1].split() == ["name", "n"]
    assert [line.rsplit(maxsplit=1)[0] for line in lines[2:]] == names
    assert {cell_len(line) for line in lines[1:]} == {63}


def test_a_short_table_folds_what_is_too_wide(shown):
    assert max(map(len, shown([("x" * 60, "7")]))) <= 40
