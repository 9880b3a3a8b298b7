from __future__ import annotations

import pytest
from jinja2 import DictLoader, UndefinedError

from molex_adapt import pages
from molex_adapt.text import markdown

HOSTILE = '<b>*bold*</b> [link](http://x) "quoted" a_b'


@pytest.fixture
def made(monkeypatch):
    """Renders the text of a template."""

    def render(kind: str, text: str, **values) -> str:
        monkeypatch.setattr(pages._environment(kind), "loader", DictLoader({f"page.{kind}.j2": text}))
        pages._environment(kind).cache.clear()
        return pages.render(f"page.{kind}.j2", **values)

    yield render
    pages._environment.cache_clear()


def test_markdown_escapes_every_value_without_being_asked(made):
    text = "{% macro row(it) %}{{ it }}{% endmacro %}"
    text += "{{ value }}|{{ row(value) }}|{% for it in [value] %}{{ it }}{% endfor %}"
    assert made("md", text, value=HOSTILE) == "|".join([markdown(HOSTILE)] * 3)


def test_filters_of_markdown_say_where_a_value_is_no_prose(made):
    assert made("md", "{{ value | code }}", value="a_b") == "`a_b`"
    assert made("md", "molex-adapt pull {{ value | inert }}", value="lab/a_b") == "molex-adapt pull lab/a_b"
    assert made("md", "f({{ value | quoted }})", value='"); g("') == 'f("\\"); g(\\"")'
    assert made("md", "{{ values | map('prose') | join(', ') }}", values=["a_b", "c"]) == "a\\_b, c"


def test_html_is_escaped(made):
    page = made("html", "<p title='{{ value }}'>{{ value }}</p>", value=HOSTILE + "'")
    assert "<b>" not in page
    assert page.count("'") == 2


def test_figures_are_shown_alike(made):
    assert (
        made("md", "{{ x | percent }} {{ y | points }} {{ z | figure }}", x=0.125, y=-0.01, z=1)
        == "12.5 -1.0 1.000"
    )
    assert made("md", "{{ x | percent }} {{ x | points }} {{ x | figure }}", x=None) == "? ? ?"


@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_value_that_is_missing_is_an_error(made, kind):
    with pytest.raises(UndefinedError, match="value"):
        made(kind, "{{ value }}")
