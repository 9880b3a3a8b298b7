"""What is measured of the shipped detector, and how pages show it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import limits
from benchmarks.demo import figures_of
from benchmarks.plan import Cell, read_plan
from benchmarks.report.detector import demo, old_changes
from benchmarks.report.found import Found
from benchmarks.report.readme import with_table
from benchmarks.results import Results
from molex_adapt.data import Table, Utterance
from molex_adapt.metrics import Rates
from molex_adapt.reports import Change, Comparison, StageReport


def rates(eer: float) -> Rates:
    return Rates(eer, (eer, eer), eer, eer, eer, 100, 100)


def compared(kind: type[Comparison], **pairs: tuple[float, float]) -> dict[str, tuple]:
    """As the product's reports say it, so that a key that moves is found here."""
    change = {
        name: Change(after - before, (0.0, 0.0), (before, after), (0.0, 0.0), 0.0, 0.0)
        for name, (before, after) in pairs.items()
    }
    more = {"expert": "new", "generation": 2, "activated": True} if kind is StageReport else {}
    before, after = ({name: rates(pair[at]) for name, pair in pairs.items()} for at in (0, 1))
    return kind(before=before, after=after, change=change, novel="new", **more).as_dict()


@pytest.fixture
def told():
    heard = compared(Comparison, new=(0.3, 0.02), a=(0.01, 0.03), b=(0.02, 0.01), null=(0.5, 0.49))
    unheard = compared(Comparison, new=(0.4, 0.05), a=(0.02, 0.02))
    added = compared(StageReport, new=(0.3, 0.02))
    return {"add_expert": added, "known_voices": heard, "held_out_voice": unheard}


def test_the_demonstrations_figures_are_those_of_its_json(told):
    found = figures_of(told, 181.0)
    assert found["novel"] == "new"
    assert found["eer"]["known"]["new"] == [0.3, 0.02]
    assert found["eer"]["unheard"] == {"new": [0.4, 0.05], "a": [0.02, 0.02]}
    assert found["bona_fide_refused"]["known"]["a"] == [0.01, 0.03]
    assert old_changes(found, "known") == pytest.approx((0.005, 0.02))
    assert set(figures_of(told | {"held_out_voice": None}, 1.0)["eer"]) == {"known"}


def test_pages_show_them(told):
    plan = read_plan("demo")
    results = Results.of(plan)
    results.add(plan, plan.cells[0], figures_of(told, 181.0))
    found = Found("demo", plan, results)
    page = "\n".join(demo(found))
    assert "3 min 1 s" in page
    results.add(plan, plan.cells[0], figures_of(told, 231.7))
    assert "3 min 52 s" in "\n".join(demo(Found("demo", plan, results)))
    results.add(plan, plan.cells[0], figures_of(told, 181.0))
    assert "| new | 30.0 → 2.0 | 40.0 → 5.0 |" in page
    assert "| b | 2.0 → 1.0 | – |" in page
    readme = with_table("<!-- measured -->\n<!-- /measured -->\n", {"demo": found})
    assert "| 3.0 min | `python -m benchmarks demo` |" in readme
    assert "| 30.0 → 2.0; 40.0 → 5.0 %; +0.5, +2.0 points |" in readme


def test_real_recordings_below_the_threshold_are_called_forged(monkeypatch, tmp_path):
    speech = Table(
        tuple(Utterance(path=tmp_path / f"{at}.wav", label="bonafide") for at in range(9)), "speech"
    )
    asked = []

    def score(table):
        asked.extend(item.path.stem for item in table)
        scores = [SimpleNamespace(score=value) for value in (-1.0, 0.5, 2.0)]
        return SimpleNamespace(threshold=0.5, scores=scores)

    monkeypatch.setattr(limits, "find_speech", lambda folder: speech)
    monkeypatch.setattr(limits.Registry, "open", lambda path: SimpleNamespace(score=score))
    [(_, found)] = limits.measure(read_plan("limits"), [Cell("heard", (3,))])
    assert asked == ["0", "3", "6"]
    assert found == {"called_spoof": pytest.approx(1 / 3), "recordings": 3}
