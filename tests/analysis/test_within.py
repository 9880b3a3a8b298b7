"""An attack's difference and a condition's, on routing whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console, Group

from molex_adapt.analysis import Corpus, Observed, Tally, conclude
from molex_adapt.analysis.analyse import _remarks
from molex_adapt.analysis.profiles import Kept
from molex_adapt.analysis.within import within_conditions
from molex_adapt.cli.analysis_view import analysis_view
from molex_adapt.cli.output import to_json
from molex_adapt.findings import Within
from molex_adapt.reports import Analysis

EACH, EXPERTS = 40, ["one", "two", "three"]


def heard(lean: dict[tuple[str, str], tuple[float, float, float]], seed: int = 0) -> tuple[Kept, Corpus]:
    """Forty recordings of each attack and condition, whose gates lean to the three experts by so much."""
    rng = np.random.default_rng(seed)
    cells = [cell for cell in lean for _ in range(EACH)]
    logits = 0.7 * rng.normal(size=(len(cells), 2, 3)) + np.array([lean[cell] for cell in cells])[:, None]
    gates = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    names, conditions = zip(*cells, strict=True)
    sources = tuple(str(at % EACH) for at in range(len(cells)))
    real = np.array([name == "bonafide" for name in names])
    return Kept(gates, sources), Corpus(names, conditions, real, sources, tuple(map(str, range(len(cells)))))


def analysed(lean: dict[tuple[str, str], tuple[float, float, float]]) -> Analysis:
    kept, corpus = heard(lean)
    count = len(corpus)
    tally = Tally.empty(len(corpus.rows), 2, 3)
    tally.counts += EACH
    rows = torch.from_numpy(corpus.row_of)
    tally.gates.index_add_(0, rows, (torch.from_numpy(kept.gates) * 2.0**32).long())
    scores, none = np.where(corpus.bona_fide, 1.0, -1.0), np.zeros(0, dtype=np.intp)
    spectrum, without = np.zeros((count, 1), np.float32), np.zeros((0, 3, 2))
    seen, everyone, told = np.full(count, True), np.arange(count), np.zeros(count)
    gates = kept.gates
    unheard = (), np.zeros((count, 0)), np.zeros((count, 0))
    observed = Observed(
        tally, seen, scores, scores, told, everyone, gates, gates, spectrum, none, without, *unheard
    )
    return conclude(observed, corpus, EXPERTS)


def by_cell(report: Analysis) -> dict[tuple[str, str], Within]:
    return {(item.attack, item.condition): item for item in report.findings.within}


PLAIN, CODED = (0.0, 0.0, 0.0), (1.5, 0.0, 0.0)
ONLY_THE_CHANNEL = {
    ("bonafide", "none"): PLAIN,
    ("bonafide", "opus"): CODED,
    ("buzz", "opus"): CODED,
    ("null", "opus"): CODED,
}


@pytest.fixture(scope="module")
def channel() -> Analysis:
    return analysed(ONLY_THE_CHANNEL)


@pytest.fixture(scope="module")
def forged() -> Analysis:
    """One attack differs in both conditions by far, another in one of them by less than the codec does."""
    return analysed(
        ONLY_THE_CHANNEL
        | {
            ("far", "none"): (0.0, 4.0, 0.0),
            ("far", "opus"): (1.5, 5.0, 0.0),
            ("near", "none"): (0.0, 0.0, 0.8),
        }
    )


def test_what_only_the_condition_changes_is_no_difference_of_an_attack(channel):
    pooled = {(item.one, item.other): item for item in channel.findings.distances}
    assert pooled["buzz", "bonafide"].p_corrected < 0.05, "all conditions together, the codec differs"
    found = by_cell(channel)
    assert set(found) == {("buzz", "opus"), ("null", "opus")}
    for item in found.values():
        assert item.p_corrected > 0.05 and item.beyond_channel is False
    largest = max(item.distance for item in channel.findings.controls)
    assert {item.channel for item in found.values()} == {largest}
    control = {item.one: item for item in channel.findings.controls}
    assert control["null"].p < 0.01, "the raw control stays told apart"
    assert any("null is routed differently" in line for line in channel.remarks)


def test_many_controls_that_are_told_apart_have_one_remark(channel):
    (control,) = channel.findings.controls[:1]
    few, many = (
        [replace(control, one=f"c{at}", distance=at / 10, p_corrected=0.01) for at in range(n)]
        for n in (3, 4)
    )
    said = _remarks(replace(channel.findings, controls=[*few, replace(control, p_corrected=0.5)]))
    assert [line.split()[0] for line in said[:3]] == ["c0", "c1", "c2"]
    said = _remarks(replace(channel.findings, controls=[*many, replace(control, p_corrected=0.5)]))
    assert said[0].startswith("4 of 5 controls are told apart, c3 furthest (distance 0.300, p = 0.010)")
    assert not any("is routed differently" in line for line in said)


def test_a_difference_within_a_condition_is_found_and_held_against_the_channel(forged):
    found = by_cell(forged)
    for cell in (("far", "none"), ("far", "opus")):
        assert found[cell].p_corrected < 0.05 and found[cell].beyond_channel is True
        assert found[cell].distance > found[cell].channel
        assert found[cell].sources == (EACH, EACH)
    near = found["near", "none"]
    assert near.p_corrected < 0.05 and near.beyond_channel is False
    assert near.distance < near.channel
    assert found["buzz", "opus"].p_corrected > 0.05


def test_only_known_conditions_that_both_were_heard_in_are_compared():
    kept, corpus = heard({("bonafide", "none"): PLAIN, ("buzz", "opus"): PLAIN, ("hum", "none"): PLAIN})
    (found,) = within_conditions(kept, corpus, [])
    assert (found.attack, found.condition) == ("hum", "none")
    assert (found.channel, found.beyond_channel) == (None, None)
    unknown = replace(corpus, conditions=("",) * len(corpus))
    assert within_conditions(kept, unknown, []) == []


def test_p_values_within_conditions_are_even_where_only_conditions_differ():
    lean = {(name, f"c{at}"): (at / 5, 0.0, 0.0) for name in ("bonafide", "buzz") for at in range(20)}
    found = [item.p for seed in range(1000, 1010) for item in within_conditions(*heard(lean, seed), [])]
    assert len(found) == 200
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09
    assert 0.4 < np.mean(found) < 0.6


def test_terminal_and_json_show_the_channel_effect_beside_the_distances(forged):
    file = StringIO()
    Console(file=file, width=80).print(Group(*analysis_view(forged)), crop=False)
    said = file.getvalue()
    effect = by_cell(forged)["near", "none"].channel
    assert "Apart from bona fide speech in the same condition: 3 of 5" in said
    assert f"Further apart than conditions are (channel effect {effect:.2f}): 2" in said
    assert "no further: near, none" in said and "not apart: null, opus" in said
    assert max(map(len, said.splitlines())) <= 80
    content = json.loads(to_json(forged.as_dict()))["findings"]["within"]
    assert {(item["attack"], item["beyond_channel"]) for item in content} >= {("far", True), ("near", False)}
