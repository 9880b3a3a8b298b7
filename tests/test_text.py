from __future__ import annotations

import os
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molex_adapt.text import code, command_line, inert, markdown, short, shown, storable, visible, whole

ANY = st.text(st.characters(codec=None), max_size=400)  # lone surrogates as well

OBEYED = {
    "clear the screen": ("a\x1b[2Jb", "a\\x1b[2Jb"),
    "eight-bit escape": ("a\x9b31mb", "a\\x9b31mb"),
    "start of the line": ("evil\rgood", "evil\\rgood"),
    "from right to left": ("a\u202egnp.exe", "a\\u202egnp.exe"),
    "line separator": ("a\u2028b", "a\\u2028b"),
    "byte order": ("\ufeffa", "\\ufeffa"),
    "not UTF-8": ("caf\udce9.wav", "caf\\udce9.wav"),
}


@pytest.mark.parametrize(("text", "expected"), OBEYED.values(), ids=OBEYED)
def test_what_a_terminal_would_obey_is_shown(text, expected):
    assert visible(text) == expected


@pytest.mark.parametrize("text", ["größer, 登録\tund\nmehr", "نمی\u200cدانم", "10\u00a0km", "👩\u200d🔬", ""])
def test_what_people_write_stays(text):
    assert visible(text) == text


@given(ANY)
def test_any_text_becomes_printable(text):
    assert visible(text).encode().decode() == visible(text)
    line = short(text, 40)
    assert len(line) <= 40
    assert line.splitlines() in ([], [line])
    assert set(visible(line)) <= set(line)


def test_what_is_left_out_of_a_line_shows():
    assert short("a\n  b\t c") == "a b c"
    assert short("x" * 80) == "x" * 80
    assert short("x" * 81) == "x" * 77 + "..."
    assert short("a" + " " * 1000 + "b") == "a..."


def test_values_are_shown_as_python_writes_them():
    assert shown("a\nb") == "'a\\nb'"
    assert shown([1, None]) == "[1, None]"
    assert shown(10**5000) == short(10**5000) == "a number too long to show"
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "something nested too deeply to show"


@given(ANY)
def test_no_text_is_markup_in_a_card(text):
    line = markdown(text)
    assert line.splitlines() in ([], [line])
    assert not set("`|<>[]{}") & set(line)
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~#!&]", line)
    assert not re.search(r"://|www\.|\w@\w", line, re.IGNORECASE)
    assert not set("`|<>") & set(inert(text))
    assert code(text) == f"`{inert(text)}`"


@given(ANY)
def test_what_is_stored_is_utf_8_and_the_rest_stays(text):
    stored = storable(text)
    stored.encode()
    assert storable(stored) == stored
    assert stored == text or any("\ud800" <= sign <= "\udfff" for sign in text)


@pytest.mark.parametrize(
    ("given", "meant"), [("gr\udcc3\udcb6n", "grön"), ("b\udcff", "b\udcff"), ("grün", "grün")]
)
def test_a_name_that_the_c_locale_has_split_is_whole_again(given, meant):
    assert whole(given) == meant
    assert storable(given) == meant.encode("utf-8", "backslashreplace").decode()


def test_a_command_line_is_taken_by_a_shell_as_it_was_meant():
    words = [
        "plain/name.wav",
        "a b",
        "it's",
        "größer",
        "$HOME",
        "caf\udce9",
        "a\tb\n",
        "\x1b[31m",
        "a\u202eb1",
        "",
    ]
    line = command_line(words)
    assert visible(line) == line
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert told.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
    assert command_line(words[:2]) == "plain/name.wav 'a b'"


@given(ANY)
def test_any_command_line_can_be_shown(text):
    assert visible(command_line([text])) == command_line([text])
