from __future__ import annotations

from html.parser import HTMLParser

from molex_adapt.demo.report import write_report
from tests.demo.reports import analysed, compared

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Tags(HTMLParser):
    """Notes every element and attribute, and that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("li", "td", "th", "tr"):
            while self.open.pop() != tag:
                pass


def page_of(report_of, name: str) -> str:
    voices = compared(name, **{name: (0.24, 0.01), "null": (0.5, 0.5)})
    report = report_of({"known voices": voices, name: voices}, analysed(**{name: {name: 1.0}}), novel=name)
    write_report(report)
    return report.page.read_text(encoding="utf-8")


def test_hostile_names_are_text_on_the_page(report_of):
    text = page_of(report_of, HOSTILE)
    tags = Tags()
    tags.feed(text)
    assert not tags.found & {"script", "img"}
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in text
    assert not tags.open


def test_the_page_answers_before_it_shows_figures(report_of):
    text = page_of(report_of, "novel")
    answers = [
        text.index(f"<li>{start}") for start in ("It catches novel now", "Whether it forgot", "On novel")
    ]
    assert answers == sorted(answers)
    assert answers[-1] < text.index("<table>")
    assert "24.0 <small>20.0–28.0</small>" in text
    assert "-23.0 <small>-24.0 -22.0</small>" in text
    assert "24.0 → 1.0 %" in text
    assert "frozen before: 1.2 → 11.2 %" in text
    assert "100 %</td>" in text
    assert "simulate 61 s" in text


def test_the_page_stands_alone_and_follows_light_and_dark(report_of):
    text = page_of(report_of, "novel")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert not any(word in text for word in ("http:", "https:", "src=", "@import", "url("))
