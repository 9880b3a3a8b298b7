"""Texts of others, made safe to show: names of files, attacks and records may be anybody's.

Four places show them: a terminal, which would obey control characters (`visible`); a message, which is one short line
(`short`, `shown`); a command that is to be typed (`command_line`); and a card in Markdown, in which a text could
open links, tables and markup (`markdown`, `code`).
"""

from __future__ import annotations

import os
import re
import shlex
import string
import unicodedata
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import Any

_KEPT = frozenset("\t\n\u00a0\u3000\u200c\u200d")
"""Not printable to Python, but nothing is hidden by them: space of any width, and what joins letters in Persian."""

_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}/._-")
"""What a shell takes as it is."""
_OPENING = str.maketrans(dict.fromkeys("`|<>", " "))
_LINKING = str.maketrans(dict.fromkeys("[]{}", " "))


def all_of(names: Container[str]) -> str:
    """What all of these together are called; an attack, a condition or a voice may be called "all"."""
    return "all" if "all" not in names else "all together"


def visible(text: str) -> str:
    """The text with everything that a terminal would obey, hide or fail to print in Python's notation."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in _KEPT else ascii(sign).strip("'") for sign in text)


def is_open(text: str) -> bool:
    """Whether nothing in a text steers a terminal or hides: letters, signs, and spaces of any width."""
    return all(sign.isprintable() or sign in _KEPT or unicodedata.category(sign) == "Zs" for sign in text)


def short(text: Any, most: int = 80) -> str:
    """Any text in one visible line of at most `most` characters; what was left out shows as "..."."""
    return _one_line(text, str, most)


def shown(value: Any, most: int = 80) -> str:
    """The same in Python's notation: with quotes around a text."""
    return _one_line(value, repr, most)


def whole(name: str) -> str:
    """A file's name in the letters that it was given in: in the C locale, Python has split UTF-8 into bytes."""
    with suppress(UnicodeError):
        return os.fsencode(name).decode()
    return name


def storable(text: str) -> str:
    """The same, and in Python's notation what UTF-8 cannot hold: bytes of a name that was given in another encoding."""
    return whole(text).encode("utf-8", "backslashreplace").decode()


def command_line(words: Iterable[str]) -> str:
    r"""A command as a shell takes it; a word that no terminal can show, such as a name not in UTF-8, as $'\xff'."""
    return " ".join(shlex.quote(word) if word.isprintable() else f"$'{_in_escapes(word)}'" for word in words)


def inert(text: Any) -> str:
    """One line of at most 200 characters that ends no fence, cell or tag."""
    return " ".join(short(text, 200).translate(_OPENING).split())


def code(text: Any) -> str:
    """The same in backticks, where Markdown reads nothing else."""
    return f"`{inert(text)}`"


def markdown(text: Any) -> str:
    """The same as prose: Markdown and HTML leave it alone, and nothing in it becomes a link."""
    line = " ".join(inert(text).translate(_LINKING).split())
    line = re.sub(r"[\\*_~#!&]", r"\\\g<0>", line)
    # A word joiner inside: renderers link bare addresses, and escaping does not keep them from it.
    return re.sub(
        r"://|www\.|@", lambda found: f"{found[0][0]}\u2060{found[0][1:]}", line, flags=re.IGNORECASE
    )


def _in_escapes(word: str) -> str:
    try:
        given = os.fsencode(word)
    except UnicodeError:  # no name that a file system gave
        given = word.encode("utf-8", "backslashreplace")
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in given)


def _one_line(value: Any, say: Callable[[Any], str], most: int) -> str:
    try:
        said = say(value)
    except ValueError:  # an integer longer than Python turns into text
        return "a number too long to show"
    except RecursionError:
        return "something nested too deeply to show"
    line = " ".join(visible(said[: 4 * most]).split())  # cut first: it may be of any length
    return line if len(line) <= most and len(said) <= 4 * most else f"{line[: most - 3]}..."
