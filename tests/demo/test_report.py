from __future__ import annotations

from html.parser import HTMLParser

from molex_adapt.demo.report import write_report
from molex_adapt.metrics import Rates
from molex_adapt.reports import Analysis, Change, Comparison

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Tags(HTMLParser):
    """Notes every element and attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_names_are_text_on_the_page(tmp_path):
    rates = Rates(eer=0.1, eer_ci=(0.0, 0.2), min_dcf=0.1, act_dcf=0.2, cllr=0.3, bona_fide=3, spoof=4)
    analysis = Analysis(
        experts=[HOSTILE],
        attacks=[HOSTILE],
        blocks=1,
        usage={HOSTILE: {HOSTILE: 1.0}},
        usage_by_block={HOSTILE: [[1.0]]},
    )
    change = Change(
        eer=-0.1,
        interval=(-0.2, 0.0),
        miss=(0.012, 0.112),
        false_alarm=(0.95, 0.0),
        bona_fide_shift=-3.7,
        spoof_shift=-11.0,
    )
    compared = Comparison(before={}, after={HOSTILE: rates}, change={HOSTILE: change}, novel=HOSTILE)
    page = tmp_path / "page.html"
    write_report(page, HOSTILE, [compared, compared], analysis, {HOSTILE: 1.0}, HOSTILE)
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.found & {"script", "img"}
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in text
    assert "<td>1.2 → 11.2 %</td><td>95.0 → 0.0 %</td>" in text
