"""Hostile input that is nearly right: valid files with something done to them, and structures with odd values."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

TOKENS = [
    "&a [*a, *a]",
    "*a",
    "<<: *a",
    "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "!!python/object/apply:os.system ['touch owned']",
    "!!python/name:os.system",
    "!!binary /w==",
    "!!set {a, b}",
    "!!timestamp 2026-99-99",
    "!<tag:yaml.org,2002:float> x",
    "0x" + "f" * 5000,
    "0b" + "1" * 20_000,
    "9" * 5000,
    "-" + "9" * 25,
    "1e999",
    "1e-999",
    ".nan",
    "-.inf",
    "NaN",
    "Infinity",
    "1:" * 300 + "1",
    "2026-02-30",
    "0001-01-01T00:00:00+23:59",
    "[" * 3000,
    "{a: " * 2000,
    '{"a":' * 3000,
    "- " * 3000,
    "? " * 500,
    "\0",
    "\ufeff",
    "\u2028",
    "\u202e",
    "\x85",
    "\x1b[31m\x07",
    "\\ud800",
    "\\u0000",
    "../../etc/passwd",
    "/etc/passwd",
    "//host/share",
    "file:///etc/passwd",
    "C:\\x",
    "~root",
    "a" * 70,
    "x" * 10_000,
    "é" * 300,
    "CON",
    ".",
    "..",
    "-",
    "--help",
    "<script>alert(1)</script>",
    "[red]x[/blue]",
    "[/]",
    "![x](http://x)",
    "```",
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "%TAG ! tag:x,2000:\n",
    "|\n",
    ">-\n",
    "\t",
    "\r",
    "\n\n",
    '"',
    "'",
    ",",
    ";",
    ":",
    "#",
    "bonafide",
    "spoof",
    "null",
    "true",
    "1",
    "-1",
    "0",
    "",
]
"""What readers of text have stumbled over somewhere."""

LENGTHS = [
    0,
    1,
    7,
    2**7,
    2**8,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
"""Numbers that lengths and counts are blown up to."""

_KINDS = ("flip", "set", "cut", "drop", "repeat", "insert", "token", "length", "swap")


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these files with up to six things done to it."""
    step = st.tuples(
        st.sampled_from(_KINDS),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2**16),
        st.one_of(st.sampled_from(TOKENS).map(_encoded), st.binary(max_size=12)),
    )
    return st.builds(_damage, st.sampled_from(list(seeds)), st.lists(step, max_size=6))


def _encoded(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def _damage(content: bytes, steps: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, place, number, extra in steps:
        at = int(place * len(content))
        # Headers are where readers believe what they read: half of all damage goes there.
        if number % 2:
            at = int(place * min(len(content), 64))
        content = _changed(content, kind, at, number, extra)
        if len(content) > 300_000:
            return content[:300_000]
    return content


def _changed(content: bytes, kind: str, at: int, number: int, extra: bytes) -> bytes:
    size = 1 + number % 40
    if kind == "flip" and content:
        return content[:at] + bytes([content[at] ^ (1 << number % 8)]) + content[at + 1 :]
    if kind == "set" and content:
        return content[:at] + bytes([number % 256]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "drop":
        return content[:at] + content[at + size :]
    if kind == "repeat":
        return content[:at] + content[at : at + size] * (2 + number % 50) + content[at:]
    if kind == "length":
        wide = ("<I", ">I", "<Q", ">Q", "<H")[number % 5]
        value = LENGTHS[number % len(LENGTHS)] & (256 ** struct.calcsize(wide) - 1)
        return content[:at] + struct.pack(wide, value) + content[at + struct.calcsize(wide) :]
    if kind == "swap":
        return (
            content[:at]
            + content[at + size : at + 2 * size]
            + content[at : at + size]
            + content[at + 2 * size :]
        )
    return content[:at] + extra + (content[at + len(extra) :] if kind == "token" else content[at:])


def values() -> st.SearchStrategy[Any]:
    """Anything that JSON or YAML can hold, odd things before others."""
    odd = [
        None,
        True,
        False,
        0,
        -1,
        2**31,
        2**63,
        10**30,
        1e308,
        5e-324,
        float("nan"),
        float("inf"),
    ]
    text = st.one_of(st.sampled_from(TOKENS), st.text(max_size=20))
    huge = st.integers(4000, 5000).map(lambda digits: 16**digits)  # beyond what Python turns into text
    leaf = st.one_of(st.sampled_from(odd), text, st.integers(), st.floats(), huge)
    return st.recursive(
        leaf,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
        max_leaves=8,
    )


def changed(content: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A nested structure in which up to three things are another value, gone, or given besides."""
    paths = list(_paths(content))
    change = st.tuples(st.sampled_from(paths), st.sampled_from(("set", "drop", "add")), values())
    return st.builds(lambda changes: _apply(content, changes), st.lists(change, max_size=3))


def _paths(content: Any, before: tuple[Any, ...] = ()) -> Any:
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in items:
        yield (*before, key)
        yield from _paths(value, (*before, key))


def _apply(content: dict[str, Any], changes: list[tuple[tuple[Any, ...], str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(content))
    for path, kind, value in changes:
        at: Any = made
        try:
            for key in path[:-1]:
                at = at[key]
            if kind == "drop":
                del at[path[-1]]
            elif kind == "set":
                at[path[-1]] = value
            elif isinstance(at, dict):
                at[str(value)[:30] if not isinstance(value, int) else value] = value
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return made


def as_yaml(content: Any) -> bytes:
    """YAML as PyYAML writes it; long integers as hexadecimal, which has no limit of length."""
    return yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False).encode(
        "utf-8", "surrogatepass"
    )


class _Dumper(yaml.SafeDumper):
    """Writes huge integers."""


_Dumper.add_representer(
    int,
    lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:int", hex(value) if abs(value) > 10**20 else str(value)
    ),
)


def as_json(content: Any) -> bytes:
    """JSON with what Python adds to it: NaN, and integers of any length."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(content, skipkeys=True).encode()
    finally:
        sys.set_int_max_str_digits(limit)


def written(content: dict[str, Any], write: Callable[[Any], bytes] = as_yaml) -> st.SearchStrategy[bytes]:
    """Files of a structure: changed in what it says, or in how it is written."""
    return st.one_of(changed(content).map(write), damaged([write(content)]))
