from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from molex_adapt.demo.report import preface_of, write_page
from molex_adapt.plots import drawing
from tests.demo.reports import analysed, compared

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Tags(HTMLParser):
    """Notes every element and attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes |= {name for name, _ in attrs}


def told(report_of, name: str):
    voices = compared(name, **{name: (0.24, 0.01), "null": (0.5, 0.5)})
    both = {"known voices": voices, f"{name}, never heard": voices}
    return report_of(both, analysed(**{name: {name: 1.0}}), novel=name)


def page_of(report_of, name: str) -> str:
    report = told(report_of, name)
    write_page(report)
    return report.page.read_text(encoding="utf-8")


def test_hostile_names_are_text_on_the_page(report_of):
    plain, attacked = Tags(), Tags()
    plain.feed(page_of(report_of, "novel"))
    text = page_of(report_of, HOSTILE)
    attacked.feed(text)
    assert attacked.found == plain.found
    assert not {name for name in attacked.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in text


def test_the_page_answers_before_it_shows_figures(report_of):
    text = page_of(report_of, "novel")
    assert "<h1>molex-adapt meets novel</h1>" in text
    pairs = [
        ("Does it catch novel?", "It catches novel now"),
        ("Did it forget?", "Whether it forgot"),
        ("Which experts did the work?", "On novel"),
    ]
    answers = [text.index(f"<dt>{heading}</dt><dd>{start}") for heading, start in pairs]
    assert answers == sorted(answers)
    assert answers[-1] < text.index("<table") < text.index('data-chart="usage"')
    assert text.count("<td>24.0 <small>20.0–28.0</small>") == 2
    assert "<td>-23.0 <small>-24.0 to -22.0</small>" in text
    assert "<td>24.0 → 1.0</td>" in text
    assert "Real speech refused at the same threshold: 1.2 → 11.2 % of 150 recordings" in text
    assert "simulate 61 s" in text


def test_what_the_preface_says_follows_what_was_measured(report_of):
    voices = compared("novel", novel=(0.24, 0.01))
    alone = preface_of(report_of({"known voices": voices}, analysed(novel={"novel": 1.0})))
    assert not any("of the other on none" in line or "null" in line for line in alone.remarks)
    both = preface_of(told(report_of, "novel"))
    assert "of the other on none. null is processing" in both.remarks[0]
    assert both.attack == "novel"


def test_without_what_draws_it_there_is_no_page_but_a_line_that_says_how_to_get_one(report_of, tmp_path):
    report = replace(told(report_of, "novel"), page=None)
    write_page(report)
    assert list(tmp_path.iterdir()) == []
    assert report.as_dict()["report"] is None
    assert f"{drawing.INSTALL}," in report.as_dict()["remarks"][0]
    assert told(report_of, "novel").as_dict()["remarks"] == []


def test_what_was_refused_is_not_said_to_be_measured(report_of):
    voices = {"known voices": compared("novel", novel=(0.24, 0.24), old=(0.0, 0.0))}
    shares = analysed(novel={"old": 1.0})
    refused = preface_of(report_of(voices, shares, refused=["old: EER rose by 9.0 points"]))
    assert "acceptance refused both, and the detector is as it was" in refused.lead
    assert "by the detector as it was." in refused.remarks[0] and "was added" not in refused.remarks[0]
    added = preface_of(report_of(voices, shares))
    assert "stayed frozen." in added.lead and "after the new expert was added." in added.remarks[0]
