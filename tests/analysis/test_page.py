"""The page in a headless Chromium: drawn, sorted, filtered, silent, alone, and quick where there is much on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from molex_adapt.analysis import parts, probe, profiles
from molex_adapt.analysis.flat import DomainChange
from molex_adapt.analysis.page import LARGEST_BYTES, page
from molex_adapt.analysis.plotted import ablation_rows, score_rows
from molex_adapt.analysis.preface import Preface, Statement
from molex_adapt.findings import AttackVerdict
from molex_adapt.metrics import Rates, RefusalsChange
from molex_adapt.reports import Analysis, Change, Comparison
from tests.analysis.browser import CHROMIUM, Browser
from tests.analysis.reports import analysed

LAST = [DomainChange("attack_00", 0.2, 0.1, (-0.12, -0.05)), DomainChange("attack_01", 0.1, 0.11, None)]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(replace(analysed(6, 9, 8), threshold=1.5, generation=3), LAST), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture
def browser(chromium) -> Browser:
    chromium.begin()
    return chromium


def rows(browser: Browser, table: str) -> list[list[str]]:
    cells = "[...row.cells].map(cell => cell.textContent)"
    return browser.value(
        f"[...document.querySelectorAll('[data-table={table}] tbody tr')].map(row => {cells})"
    )


def renamed(report: Analysis, names: dict[str, str]) -> Analysis:
    """The same with other names for some attacks, in what charts are drawn from."""

    def rows(given: Any) -> Any:
        return {names.get(name, name): row for name, row in given.items()}

    found, tree = report.findings, report.findings.clustering
    leaves = {part: [names.get(name, name) for name in getattr(tree, part)] for part in ("names", "order")}
    findings = replace(found, errors=rows(found.errors), clustering=replace(tree, **leaves))
    attacks = [names.get(name, name) for name in report.attacks]
    return replace(
        report,
        attacks=attacks,
        usage=rows(report.usage),
        usage_by_block=rows(report.usage_by_block),
        findings=findings,
    )


def draw_all(browser: Browser) -> None:
    """Have all charts in sight at once, for only those that are seen are drawn: what is drawn makes the page longer."""
    drawn = "p.closest('[hidden]') || p.querySelector('canvas')"
    condition = f"[...document.querySelectorAll('[data-chart]')].every(p => {drawn})"
    browser.value("window.scrollTo(0, 0)")
    browser.resize(1280, browser.value("document.documentElement.scrollHeight") + 9000)
    browser.wait(condition)


@needs_chromium
def test_every_figure_is_drawn_nothing_complains_and_no_request_leaves_the_file(small, browser):
    browser.open(small)
    draw_all(browser)
    keys = browser.value("[...document.querySelectorAll('[data-chart]')].map(place => place.dataset.chart)")
    assert keys == [
        "usage",
        "errors",
        "witnesses",
        "needed",
        "families",
        "depth",
        "last_expert",
        "blocks",
        "ablation",
        "scores",
        "det",
    ]
    blank = """[...document.querySelectorAll('canvas')].filter(canvas => {
        const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return !seen.some((value, at) => at % 4 === 3 && value > 0);
    }).length"""
    assert browser.value("document.querySelectorAll('canvas').length") == 11
    assert browser.value(blank) == 0
    assert browser.complaints == []
    assert browser.requests == [small.as_uri()]


@needs_chromium
def test_tables_sort_both_ways_and_filter(small, browser):
    browser.open(small)
    sort = "document.querySelectorAll('[data-table=errors] th[scope=col] button')[1].click()"
    heading = "document.querySelectorAll('[data-table=errors] th[scope=col]')[1].getAttribute('aria-sort')"
    browser.value(sort)
    falling = [float(row[1].split()[0]) for row in rows(browser, "errors")]
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[-1]
    assert browser.value(heading) == "descending"
    browser.value(sort)
    rising = [float(row[1].split()[0]) for row in rows(browser, "errors")]
    assert rising == falling[::-1] or rising == sorted(falling)
    assert browser.value(heading) == "ascending"
    browser.value(
        "(() => { const box = document.querySelector('[data-table=usage] input'); box.value = 'attack_03 expert_02';"
        " box.dispatchEvent(new Event('input')); })()"
    )
    assert [row[:2] for row in rows(browser, "usage")] == [["attack_03", "expert_02"]]
    status = "document.querySelector('[data-table=usage] [role=status]').textContent"
    assert browser.value(status) == "rows 1 to 1 of 1"
    assert browser.complaints == []


@needs_chromium
def test_a_long_table_has_pages(small, browser):
    browser.open(small)
    first = rows(browser, "usage")
    browser.value("[...document.querySelectorAll('[data-table=usage] .tools button')][1].click()")
    second = rows(browser, "usage")
    assert len(first) == len(second) == 20 and first[0] != second[0]
    assert (
        browser.value("document.querySelector('[data-table=usage] [role=status]').textContent")
        == "rows 21 to 40 of 66"
    )


@needs_chromium
def test_a_printed_table_has_all_rows_or_says_which(small, browser):
    browser.open(small)
    browser.value("[...document.querySelectorAll('[data-table=usage] .tools button')][1].click()")
    second = rows(browser, "usage")
    browser.value("dispatchEvent(new Event('beforeprint'))")
    browser.call("Emulation.setEmulatedMedia", {"media": "print"})
    assert len(rows(browser, "usage")) == 66
    shown = "getComputedStyle(document.querySelector('[data-table=usage] .tools %s')).display"
    assert browser.value(shown % "button") == browser.value(shown % "label") == "none"
    assert browser.value(shown % "span") != "none"
    status = "document.querySelector('[data-table=usage] [role=status]')"
    assert browser.value(f"[{status}.textContent, {status}.offsetHeight > 0]") == ["rows 1 to 66 of 66", True]
    assert browser.value("document.querySelector('.choice').innerText.trim()") == "Shown: attack_08"
    browser.value("dispatchEvent(new Event('afterprint'))")
    assert rows(browser, "usage") == second


@needs_chromium
def test_the_keyboard_reaches_everything_and_charts_are_described(small, browser):
    browser.open(small)
    names = """[...document.querySelectorAll('a[href], button, select, input, [tabindex]')].filter(
        item => !(item.textContent || item.ariaLabel || item.labels?.length)).length"""
    assert browser.value(names) == 0
    assert browser.value(
        "[...document.querySelectorAll('[data-chart]')].every(p => p.closest('[role=img]').ariaLabel.length > 20)"
    )
    browser.value("document.getElementById('attack').focus()")
    browser.call(
        "Input.dispatchKeyEvent",
        {"type": "keyDown", "key": "ArrowUp", "code": "ArrowUp", "windowsVirtualKeyCode": 38},
    )
    browser.call(
        "Input.dispatchKeyEvent",
        {"type": "keyUp", "key": "ArrowUp", "code": "ArrowUp", "windowsVirtualKeyCode": 38},
    )
    browser.wait("document.getElementById('chosen').textContent === 'attack_07'")
    assert browser.value("document.documentElement.lang") == "en"


@needs_chromium
def test_light_and_dark_and_paper(small, browser):
    browser.open(small)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(colour)
    browser.value("document.getElementById('theme').click()")
    assert browser.value(colour) != light
    assert browser.value("document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    browser.call("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.complaints == []


@needs_chromium
def test_a_narrow_page_does_not_scroll_sideways(small, browser):
    browser.resize(400, 800)
    browser.open(small)
    assert browser.value("document.documentElement.scrollWidth") <= 400


@needs_chromium
def test_long_names_take_room_from_the_chart_and_not_from_the_page(tmp_path, browser):
    report = analysed(6, 3)
    names = {name: f"{name}_of_a_very_long_name_that_goes_on_and_on" for name in report.attacks[:3]}
    path = tmp_path / "report.html"
    path.write_text(page(renamed(report, names)), encoding="utf-8")
    browser.open(path)
    draw_all(browser)
    size = "[c.firstElementChild.dataset.chart, c.scrollWidth - c.clientWidth, c.tabIndex]"
    found = browser.value(f"[...document.querySelectorAll('.chart')].map(c => {size})")
    beyond = {name: (more, tab) for name, more, tab in found}
    assert browser.value("document.documentElement.scrollWidth") <= 1280
    assert {beyond[name][0] for name in ("errors", "families", "depth", "ablation", "scores", "det")} == {0}
    assert all(tab == (0 if more > 0 else -1) for more, tab in beyond.values())
    assert browser.complaints == []


@needs_chromium
def test_kinds_of_speech_without_a_figure_have_no_caption_either(small, browser):
    browser.open(small)
    draw_all(browser)
    captions = (
        "[...document.querySelectorAll('#one ~ .pair figcaption h3')].filter(h => h.offsetHeight).length"
    )
    assert browser.value(captions) == 4
    choose = (
        "const s = document.getElementById('attack'); s.value = '%s'; s.dispatchEvent(new Event('change'))"
    )
    choose = f"(() => {{ {choose} }})()"
    browser.value(choose % "bonafide")
    browser.wait("document.getElementById('chosen').textContent === 'bonafide'")
    browser.wait(f"{captions} === 1")
    browser.value("document.getElementById('theme').click()")
    browser.value(choose % "attack_02")
    browser.wait(f"{captions} === 4")
    browser.wait("document.querySelector('#chart-scores-one canvas').offsetWidth > 250")
    assert browser.complaints == []


@needs_chromium
def test_charts_follow_a_window_that_becomes_narrow_and_wide_again(small, browser):
    browser.open(small)
    draw_all(browser)
    size = "document.querySelector('#chart-errors canvas').getBoundingClientRect().width"
    wide = browser.value(size)
    browser.resize(400, 800)
    browser.wait(f"{size} < 400")
    browser.resize(1280, 800)
    browser.wait(f"{size} === {wide}")
    browser.value("document.querySelector('#chart-errors canvas').dataset.former = 'yes'")
    browser.value("document.getElementById('theme').click()")
    browser.wait("document.querySelector('#chart-errors canvas:not([data-former])') !== null")
    assert browser.value(size) == wide > 400
    assert browser.complaints == []


@needs_chromium
@pytest.mark.slow
def test_many_experts_attacks_and_blocks_stay_quick_and_light(tmp_path, browser, monkeypatch):
    for module, name, few in (
        (profiles, "SHUFFLES", (9, 9)),
        (profiles, "RESAMPLES", (9, 9)),
        (parts, "RESAMPLES", 9),
        (probe, "_SHUFFLES", 9),
    ):
        monkeypatch.setattr(module, name, few)  # the page does not care
    path = tmp_path / "report.html"
    path.write_text(page(analysed(64, 60, 24, each=10)), encoding="utf-8")
    assert path.stat().st_size <= LARGEST_BYTES
    browser.open(path)
    draw_all(browser)
    click = """(async () => {
        const begin = performance.now();
        %s;
        await new Promise(requestAnimationFrame);
        return performance.now() - begin;
    })()"""
    sort = "document.querySelectorAll('[data-table=%s] th[scope=col] button')[%d].click()"
    # The fastest of four: what else the machine does at the time is not the page's doing.
    took = {}
    for table in ("ablation", "usage", "distances"):
        took[table] = min(browser.value(click % (sort % (table, 2))) for _ in range(4))
    other = "select.value = 'attack_%d'; select.dispatchEvent(new Event('change'))"
    change = f"const select = document.getElementById('attack'); {other}"
    took["another attack"] = min(browser.value(click % (change % number)) for number in (31, 32, 33, 34))
    browser.wait("document.getElementById('chosen').textContent === 'attack_34'")
    assert max(took.values()) < 200, took
    assert browser.complaints == []


class Tags(HTMLParser):
    """Notes every element."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_hostile_names_are_text():
    plain, report = analysed(2, 2), analysed(2, 2)
    names = {"attack_00": HOSTILE}
    report = replace(
        report,
        attacks=[names.get(name, name) for name in report.attacks],
        usage={names.get(name, name): row for name, row in report.usage.items()},
        usage_by_block={names.get(name, name): row for name, row in report.usage_by_block.items()},
        remarks=[HOSTILE],
    )
    safe, attacked = Tags(), Tags()
    safe.feed(page(replace(plain, remarks=["a remark"])))
    attacked.feed(page(report))
    assert attacked.found == safe.found
    assert not attacked.handlers


def compared(low: float, high: float) -> Comparison:
    """Two domains, the first of them new; the second has too few recordings for an interval."""
    before, after = ({"new": rate, "old": replace(rate, spoof=3)} for rate in (rates(high), rates(low)))
    change = Change(low - high, (-0.2, -0.1), (0.0, 0.1), (high, low), 0.0, 0.0)
    real = RefusalsChange(0.0, 0.1, (0.0, 0.2), 40, 40)
    return Comparison(
        before=before, after=after, change={"new": change, "old": change}, novel="new", real_speech=real
    )


def rates(eer: float) -> Rates:
    return Rates(eer, (eer - 0.01, eer + 0.01), 0.1, 0.1, 0.1, 40, 40)


@needs_chromium
def test_a_preface_stands_above_the_findings(tmp_path, browser):
    report = analysed(2, 3)
    told = Preface(
        "A story",
        "It was so.",
        (Statement("Was it?", "It was."),),
        {"those known": compared(0.1, 0.3), "others": compared(0.2, 0.6)},
        ("Read it so.",),
        attack="attack_01",
    )
    path = tmp_path / "report.html"
    path.write_text(page(report, preface=told), encoding="utf-8")
    browser.open(path)
    draw_all(browser)
    keys = browser.value("[...document.querySelectorAll('[data-chart]')].map(place => place.dataset.chart)")
    assert keys[:3] == ["changes_0", "changes_1", "usage"]
    heads = browser.value("[...document.querySelectorAll('h1, h2, h3, dt')].map(item => item.textContent)")
    above = ["A story", "In short", "Was it?", "Before and after", "those known", "others"]
    assert heads[: len(above)] == above
    lines = "[...document.querySelectorAll('#table-changes_0 tbody tr')]"
    assert browser.value(f"{lines}.map(row => [...row.cells].map(cell => cell.innerText))") == [
        ["new", "30.0 29.0–31.0", "10.0 9.0–11.0", "-20.0 -20.0 to -10.0", "30.0 → 10.0", "40 + 40"],
        ["old", "30.0", "10.0", "-20.0", "30.0 → 10.0", "40 + 3"],
    ]
    assert browser.value("document.getElementById('chosen').textContent") == "attack_01"
    ends = [
        chart["layer"][1]["encoding"]["x"]["scale"]
        for chart in map(spec_of(path), ("changes_0", "changes_1"))
    ]
    assert ends == [{"domain": [0, 0.6]}] * 2  # charts that are compared have one axis
    assert browser.complaints == []
    assert len(browser.requests) == 1


def spec_of(path: Path) -> Callable[[str], Any]:
    return json.loads(content_of(path.read_text(encoding="utf-8")))["charts"].__getitem__


def content_of(text: str) -> str:
    return text.partition('id="content">')[2].partition("</script>")[0]


def test_a_plain_page_has_no_preface_and_shows_an_attack_before_the_control():
    text = page(analysed(2, 2))
    assert "<h1>What the experts do</h1>" in text
    assert "In short" not in text and "Before and after" not in text
    report = analysed(2, 2)
    errors = report.findings.errors
    worst = replace(errors["null"], eer=0.9)
    found = replace(report, findings=replace(report.findings, errors=errors | {"null": worst}))
    assert '<option value="attack_01" selected>' in page(found)
    few = replace(errors["attack_01"], eer_ci=None, experts_ci=None)
    found = replace(report, findings=replace(report.findings, errors=errors | {"attack_01": few}))
    assert '<option value="attack_00" selected>' in page(found)


def test_the_channel_effect_stands_beside_the_distances():
    report = analysed(2, 2)
    near = replace(report.findings.within[0], p_corrected=0.01, channel=0.16, beyond_channel=False)
    far = replace(near, beyond_channel=True)
    found = replace(report.findings, within=[near, far, replace(near, p_corrected=0.5)])
    text = page(replace(report, findings=found))
    assert "2 of 3 pairs of attack and condition are routed apart" in text
    assert "1 of them lie beyond the channel effect of 0.16" in text and 'id="table-within"' in text
    assert "yes" in [row[-1] for row in json.loads(content_of(text))["tables"]["within"]["rows"]]


def test_a_page_without_tests_says_so():
    text = page(analysed(2, 2, tested=False))
    assert "channel effect" not in text
    assert "No expert was switched off" in text
    assert 'data-chart="usage"' in text and 'data-chart="errors"' not in text


def test_a_page_does_not_deny_that_experts_were_switched_off():
    report = analysed(2, 2)
    told = replace(report, findings=replace(report.findings, verdicts=[]))
    assert "No expert was switched off" not in page(told)


def test_a_page_says_where_recordings_are_too_few_for_an_interval():
    few, enough = page(analysed(2, 2, each=6)), page(analysed(2, 2))
    said = "Where there is no line, recordings are too few for an interval."
    assert said in few and said not in enough
    assert [row[2:4] for row in json.loads(content_of(few))["tables"]["errors"]["rows"]] == [[None, None]] * 3


def test_a_control_has_the_corrected_p_value():
    report = analysed(2, 2)
    (control, *_) = report.findings.controls
    found = replace(report.findings, controls=[replace(control, p=0.04, p_corrected=0.08)])
    assert "p = 0.080 (corrected)." in page(replace(report, findings=found))


def test_a_star_marks_what_is_certain_of_an_expert():
    report = analysed(2, 2)
    text = page(report)
    table = json.loads(content_of(text))["tables"]["ablation"]
    certain = table["columns"].index("certain")
    assert {row[1] for row in table["rows"] if row[0] == "attack_00" and row[certain] == "rises"} == {
        "expert_00"
    }
    assert "EER without each expert" in text and "Which experts are needed" not in text
    assert "so it is needed" not in text and "holds for all attacks and experts together" in text
    assert [row["star"] for row in ablation_rows(report, "attack_00")] == ["*", "", "", ""]


def test_a_histogram_reaches_its_ends_and_its_caption_says_what_the_threshold_does():
    report = analysed(2, 2)
    curves = report.findings.curves
    rows = [row for row in score_rows(report, "attack_00") if row["kind"] == "this attack"]
    assert [row["score"] for row in (rows[0], rows[-1])] == [
        round(edge, 3) for edge in (curves.edges[0], curves.edges[-1])
    ]
    assert [rows[0]["density"], rows[-1]["density"]] == [rows[1]["density"], rows[-2]["density"]]
    assert len(rows) == len(curves.counts["attack_00"]) + 2
    lone = replace(curves, counts={"attack_00": curves.counts["attack_00"]})
    of_one = score_rows(replace(report, findings=replace(report.findings, curves=lone)), "attack_00")
    assert {row["kind"] for row in of_one} == {"this attack"}
    text = page(report)
    assert "spoofed speech right of it passes, real speech left of it is refused" in text
    assert "recordings are taken for the wrong kind" not in text


def test_no_name_turns_the_page_around(tmp_path):
    name = "\u202evil"
    plain = analysed(2, 2)
    usage = {name if row == "attack_00" else row: shares for row, shares in plain.usage.items()}
    blocks = {name if row == "attack_00" else row: grid for row, grid in plain.usage_by_block.items()}
    report = replace(
        plain,
        attacks=[name, *plain.attacks[1:]],
        usage=usage,
        usage_by_block=blocks,
        remarks=[f"{name} is odd"],
        findings=replace(plain.findings, verdicts=[AttackVerdict(name, "unclear", [], f"{name}: who knows")]),
    )
    text = page(report, preface=Preface(f"About {name}"))
    assert "\u202e" not in text and "\\u202e" not in content_of(text).replace("\\\\", "")
    assert "<bdi>\\u202evil</bdi>: who knows" in text and "<title>About \\u202evil</title>" in text
    assert json.loads(content_of(text))["attacks"][0] == "\\u202evil"
    assert report.attacks[0] == name


def test_closed_gates_are_dark_on_the_map():
    plain = analysed(2, 2)
    usage = {name: dict.fromkeys(plain.experts, 0.0) for name in plain.attacks}
    bare = [
        replace(item, information_bits=None, distance=None, busiest=None) for item in plain.findings.depth
    ]
    text = page(replace(plain, usage=usage, findings=replace(plain.findings, depth=bare)))
    charts = json.loads(content_of(text))["charts"]
    assert charts["usage"]["encoding"]["color"]["scale"]["domain"] == [0, 1.0]
    assert {row["part"] for row in charts["depth"]["data"]["values"]} == {"entropy"}


def test_the_page_says_how_large_its_samples_are():
    text = page(analysed(2, 2))
    assert "at most 40 recordings of each attack and 160 of bona fide speech" in text
    assert "witnesses, distances and tests are of at most 250 and 1,000." in text


def test_one_is_no_plural():
    plain = analysed(1, 1, blocks=1, tested=False)
    alone = replace(plain, attacks=["bonafide"], utterances={"bonafide": 1})
    assert "1 recording, 1 kind of speech, 1 expert in 1 block." in page(alone)
