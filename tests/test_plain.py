"""YAML as it is written and read: nothing changes on the way."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from molex_adapt import plain
from molex_adapt.plain import dump_yaml, load_yaml

SIGNS = "ab :#-\n\t'\"\\{}[]&*!|>%@`,\x85\u2028\u2029\ufeff\x7f\u00e9\U0001f600"
"""With those that end a line in YAML, or mean something there."""
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text(SIGNS, max_size=30)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("libyaml", [True, False])
def test_what_is_written_is_read_back(libyaml, monkeypatch):
    if not libyaml:
        monkeypatch.setattr(plain, "_Dumper", yaml.SafeDumper)
        monkeypatch.setattr(plain, "_IS_LIBYAML", False)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.dictionaries(TEXTS, VALUES, max_size=3))
    @example({"data": "a\x85b"})
    def agrees(content):
        assert load_yaml(dump_yaml(content, width=40)) == content

    agrees()


def test_what_a_person_reads_stands_as_it_is():
    assert dump_yaml({"z": "Žluťoučký", "a": [1]}) == "z: Žluťoučký\na:\n- 1\n"
