from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.text import Text

from molex_adapt.cli import output
from molex_adapt.cli.tables import failures, pairs, plain_table
from molex_adapt.cli.terminal import terminal
from molex_adapt.data import Failed
from molex_adapt.text import visible

STRIPPED = re.compile(r"\\x0[78]|\\r")

HOSTILE = {
    "clear the screen": ("a\x1b[2Jb", "a\\x1b[2Jb"),
    "set the title": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "eight-bit escape": ("a\x9b31mb", "a\\x9b31mb"),
    "back over it": ("evil\b\b\b\bgood", "evil\\x08\\x08\\x08\\x08good"),
    "start of the line": ("evil\rgood", "evil\\rgood"),
    "from right to left": ("a\u202egnp.exe", "a\\u202egnp.exe"),
    "isolated": ("a\u2066b\u2069", "a\\u2066b\\u2069"),
    "not UTF-8": ("caf\udce9.wav", "caf\\udce9.wav"),
    "rich markup": ("[red]x[/red]", "[red]x[/red]"),
    "broken markup": ("[/nothing]", "[/nothing]"),
    "link": ("[link=http://x]y[/link]", "[link=http://x]y[/link]"),
    "emoji": (":bomb:", ":bomb:"),
    "plain": ("größer, 登録\tund", "größer, 登録\tund"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_texts_are_shown_and_not_obeyed(kind, monkeypatch):
    text, expected = HOSTILE[kind]
    assert visible(text) == expected
    expected = expected.expandtabs(8) if "\t" not in text else expected.split("\t")[0]
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # strict, as stdout is
    monkeypatch.setattr(output, "stdout", lambda: terminal(file=file, width=100))
    long = [(text, str(number)) for number in range(600)]
    for part in (
        text,
        Text(text),
        pairs(text, {text: text}),
        plain_table("names", (text, "n"), [(text, "1")]),
        plain_table("names", (text, "n"), long),
        *failures([Failed(text, text)]),
    ):
        before = raw.tell()
        output.show(part)
        said = raw.getvalue()[before:].decode()
        assert expected in said or STRIPPED.sub("", expected) in said  # rich itself takes some away
        assert not {"\x1b", "\x07", "\x08", "\r", "\x9b", "\u202e", "\u2066"} & set(said)


def test_columns_stay_aligned_beside_a_hostile_name():
    file = io.StringIO()
    terminal(file=file, width=80).print(plain_table("t", ("name", "n"), [("a\x1b[31m", "1"), ("b", "2")]))
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.rstrip().endswith(("1", "2"))]
    assert len({cell_len(line) for line in lines}) == 1


def test_errors_remarks_and_notes_are_shown_and_not_obeyed(capsys):
    from molex_adapt.cli.errors import reported
    from molex_adapt.cli.progress import listening
    from molex_adapt.errors import DataError

    with pytest.raises(SystemExit), reported():
        raise DataError("caf\udce9\x1b[2J [/red]")
    output.remark(["\x1b]0;owned\x07 [bold]"])
    with listening(False) as progress:
        progress.start("\x1b[31m", 3)
        progress.note("a\rb")
        progress.stop()
    said = capsys.readouterr().err
    for part in ("caf\\udce9\\x1b[2J [/red]", "\\x1b]0;owned [bold]", "\\x1b[31m (3)", "ab"):
        assert part in said
    assert "\x1b" not in said


def test_progress_bars_still_move_the_cursor():
    from molex_adapt.cli.progress import Bar

    file = io.StringIO()
    console = terminal(file=file, width=60)
    console._force_terminal = True
    bar = Bar(console)
    bar.start("training", 3)
    bar.advance(2)
    bar.note("half\x1b[2J way")
    bar.stop()
    said = file.getvalue()
    assert "training" in said and "half\\x1b[2J way" in said
    assert "\x1b[2J" not in said
    assert "\x1b[" in said, "the bar's own controls"
