from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console

from molex_adapt.cli.tables import plain_table


def shown(rows: list[tuple[str, str]]) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=40).print(plain_table("names", ("name", "n"), rows))
    return file.getvalue().splitlines()


def test_a_long_table_has_every_row_aligned_and_whole():
    names = ["短い", "x" * 60, *(f"expert-{number}" for number in range(600))]
    lines = shown([(name, "7") for name in names])
    assert lines[0] == "names" and lines[1].split() == ["name", "n"]
    assert [line.rsplit(maxsplit=1)[0] for line in lines[2:]] == names
    assert {cell_len(line) for line in lines[1:]} == {63}


def test_a_short_table_folds_what_is_too_wide():
    assert max(map(len, shown([("x" * 60, "7")]))) <= 40
