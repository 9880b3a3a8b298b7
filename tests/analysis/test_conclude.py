"""What experts and readout are worth, and the verdicts; on scores whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from molex_adapt import metrics
from molex_adapt.analysis import Corpus, Observed, Tally, conclude
from molex_adapt.analysis.analyse import _remarks
from molex_adapt.analysis.depth import health
from molex_adapt.analysis.parts import Parts, held_together
from molex_adapt.analysis.verdict import MISSED, unneeded, verdicts
from molex_adapt.cli.output import to_json
from molex_adapt.findings import Ablation, Errors

EXPERTS = ["one", "two"]
EACH = 60


def seen(
    lifts: dict[str, tuple[float, float, float]],
    apart: float = 3.0,
    few: dict[str, int] | None = None,
    witnesses: tuple[str, ...] = (),
) -> tuple[Observed, Corpus]:
    """A pass over bona fide speech at `apart` and attacks at 0, without any detector.

    Per attack, by how much the scores of its recordings rise without expert one, without expert two, and without both.
    The readout knows the attack "known" alone. Of each kind there are 60 recordings, or so `few`.
    A witness accuses recordings by its own attack, which pass without it, and others by chance.
    """
    rng = np.random.default_rng(0)
    names = [name for name in (*lifts, "bonafide") for _ in range((few or {}).get(name, EACH))]
    real = np.array([name == "bonafide" for name in names])
    count = len(names)
    sources = tuple(str(at % EACH) for at in range(count))
    scores = rng.normal(size=count) + apart * real
    rise = np.array([lifts.get(name, (0.0, 0.0, 0.0)) for name in names])
    told = np.where([name == "known" for name in names], -3.0, 0.0) + 0.1 * rng.normal(size=count)
    without = np.repeat((scores[:, None] + rise[:, :2])[:, :, None], 2, axis=2)
    gates = np.full((count, 1, 2), 0.5, np.float32)
    gates[[name == "odd" for name in names]] = (0.9, 0.1)
    corpus = Corpus(tuple(names), ("",) * count, real, sources, tuple(map(str, range(count))))
    tally = Tally.empty(len(corpus.rows), 1, 2)
    for name in ("gates", "before"):
        values = (torch.from_numpy(gates) * 2.0**32).long()
        getattr(tally, name).index_add_(0, torch.from_numpy(corpus.row_of), values)
    tally.counts.index_add_(0, torch.from_numpy(corpus.row_of), torch.ones(count, dtype=torch.int64))
    everyone = np.arange(count)
    spectrum = np.zeros((count, 3), np.float32)
    own = np.array([[witness.endswith(f"/{name}") for witness in witnesses] for name in names])
    own = own.reshape(count, len(witnesses))
    said = 1.0 + rng.normal(size=own.shape) - 5.0 * own
    observed = Observed(
        tally,
        real | True,
        scores,
        scores + rise[:, 2],
        told,
        everyone,
        gates,
        gates,
        spectrum,
        everyone,
        without,
        witnesses,
        said,
        scores[:, None] + 3.0 * own,
    )
    return observed, corpus


def test_ablation_is_the_paired_change_of_the_eer_and_of_the_mean():
    observed, corpus = seen({"buzz": (3.0, 0.0, 3.0)})
    parts = Parts(observed, corpus, EXPERTS)
    found = {(item.attack, item.expert, item.heirs): item for item in parts.ablation()}
    assert len(found) == 2 * 2 * 2
    one, two = found["buzz", "one", "others"], found["buzz", "two", "others"]
    real, fake = observed.scores[corpus.bona_fide], observed.scores[~corpus.bona_fide]
    assert one.eer_change == pytest.approx(metrics.eer(real, fake + 3) - metrics.eer(real, fake))
    assert 0 < one.eer_ci[0] <= one.eer_change <= one.eer_ci[1]
    assert (one.score_change, one.moved) == (pytest.approx(3.0), pytest.approx(3.0))
    assert one.score_ci == pytest.approx((3.0, 3.0))
    assert (two.eer_change, two.eer_ci, two.score_change) == (0.0, (0.0, 0.0), 0.0)
    assert found["bonafide", "one", "none"].eer_change is None
    assert unneeded(parts.ablation(), EXPERTS) == ["two"]
    by_expert, by_readout = parts.moved()
    assert sum(by_expert["buzz"].values()) + by_readout["buzz"] == pytest.approx(1.0)
    assert by_expert["buzz"]["one"] > 0.9 and by_expert["buzz"]["two"] == 0.0


def test_errors_are_those_of_all_recordings_and_of_parts():
    observed, corpus = seen({"buzz": (0.0, 0.0, 2.0), "known": (0.0, 0.0, 0.0)})
    found = Parts(observed, corpus, EXPERTS).errors()
    real, fake = observed.scores[corpus.bona_fide], observed.scores[:EACH]
    assert found["buzz"].eer == metrics.eer(real, fake)
    assert found["buzz"].eer_ci[0] <= found["buzz"].eer <= found["buzz"].eer_ci[1]
    assert found["buzz"].without_experts == metrics.eer(real, fake + 2)
    assert found["buzz"].experts_change == pytest.approx(found["buzz"].without_experts - found["buzz"].eer)
    assert found["known"].readout_alone < 0.05 < 0.3 < found["buzz"].readout_alone
    only = replace(observed, seen=~corpus.bona_fide)
    assert Parts(only, corpus, EXPERTS).errors() == {}


@pytest.mark.parametrize(
    ("attack", "lifts", "kind", "experts"),
    [
        ("buzz", (3.0, 0.0, 3.0), "caught", ["one"]),
        ("buzz", (2.0, 3.0, 4.0), "shared", ["two", "one"]),
        ("buzz", (0.0, 0.0, 3.0), "shared", ["one", "two"]),
        ("known", (0.0, 0.0, 0.0), "readout", []),
        ("buzz", (0.0, 0.0, 0.0), "unclear", []),
    ],
)
def test_verdicts(attack, lifts, kind, experts):
    found = conclude(*seen({attack: lifts}), EXPERTS).findings.verdict_on(attack)
    assert (found.kind, found.experts) == (kind, experts)
    assert found.sentence.startswith(f"{attack}: ") and "EER" in found.sentence


def test_what_is_missed_is_nobodys():
    found = conclude(*seen({"buzz": (3.0, 0.0, 3.0)}, apart=0.5), EXPERTS).findings.verdict_on("buzz")
    assert found.kind == "nobody" and "add an expert" in found.sentence
    known = conclude(*seen({"one": (3.0, 0.0, 3.0)}, apart=0.5), EXPERTS).findings.verdict_on("one")
    assert known.kind == "nobody"
    assert known.sentence.endswith("the expert of its name is not enough, learn more of it")
    idle = conclude(*seen({"two": (3.0, 0.0, 3.0)}, apart=0.5), EXPERTS).findings.verdict_on("two")
    assert idle.sentence.endswith("the expert of its name does not act on it, learn more of it")


def test_the_control_gets_no_verdict():
    rates = Errors(0.1, (0.0, 0.2), 0.4, None, 0.3, (0.1, 0.5), -1.0, 100, 50)
    lost = Ablation("buzz", "one", "others", 0.3, (0.1, 0.5), 1.0, (0.5, 1.5), 1.0, 50, (0.05, 0.55))
    found = verdicts({"buzz": rates, "null": rates}, [lost], {"buzz": {"one": 1.0}, "null": {"one": 1.0}})
    assert [(item.attack, item.kind) for item in found] == [("buzz", "caught")]
    assert rates.eer < MISSED


def test_an_expert_is_needed_where_that_holds_for_all_attacks_and_experts_together():
    weak = Ablation("buzz", "one", "others", 0.05, (0.005, 0.095), 1.0, (0.5, 1.5), 1.0, 50)
    strong = replace(weak, eer_change=0.2, eer_ci=(0.1, 0.3))
    unknown = replace(weak, eer_change=None, eer_ci=None)
    (alone,) = held_together([weak], 1)
    assert alone.eer_ci_together == pytest.approx((0.005, 0.095)) and alone.is_needed
    first, second, last, *_ = held_together([weak, strong, unknown, *[weak] * 70], 72)
    low, high = first.eer_ci_together
    assert low < 0 < 0.095 < high and high - low == pytest.approx(0.09 * 3.39 / 1.96, rel=0.01)
    assert (first.is_needed, second.is_needed, last.is_needed) == (False, True, False)
    assert last.eer_ci_together is None
    assert unneeded([first], EXPERTS) == EXPERTS and unneeded([second], EXPERTS) == ["two"]
    (harmful,) = held_together([replace(weak, eer_change=-0.2, eer_ci=(-0.3, -0.1))], 1)
    assert harmful.is_harmful and not harmful.is_needed


@pytest.mark.parametrize(
    ("few", "said"),
    [
        (
            {"buzz": 9},
            "buzz: cannot be told from 9 recordings against 60 of bona fide speech; 10 of each are needed",
        ),
        ({"bonafide": 2}, "cannot be told from 60 recordings against 2 of bona fide speech"),
        ({"buzz": 1}, "cannot be told from 1 recording against"),
    ],
)
def test_too_few_recordings_of_either_class_have_no_interval_and_no_verdict(few, said):
    report = conclude(*seen({"buzz": (3.0, 0.0, 3.0)}, few=few), EXPERTS)
    found, rates = report.findings.verdict_on("buzz"), report.findings.errors["buzz"]
    assert found.kind == "unclear" and said in found.sentence
    assert (rates.eer_ci, rates.experts_ci) == (None, None)
    assert {item.eer_ci for item in report.findings.ablation} == {None}
    json.loads(to_json(report.as_dict()))
    ten = conclude(*seen({"buzz": (3.0, 0.0, 3.0)}, few=dict.fromkeys(few, 10)), EXPERTS).findings
    assert ten.errors["buzz"].eer_ci is not None and ten.verdict_on("buzz").kind == "caught"


def test_only_attacks_that_can_tell_say_which_experts_are_unneeded():
    def found(name: str, count: int) -> list[str]:
        observed, corpus = seen({name: (0.0, 0.0, 0.0)}, few={name: count})
        return unneeded(Parts(observed, corpus, EXPERTS).ablation(), EXPERTS)

    assert found("buzz", 10) == EXPERTS
    assert found("buzz", 9) == found("null", 60) == []


def test_a_block_with_one_expert_for_one_kind_of_speech_has_not_collapsed():
    always = np.array([[[1.0, 0.0]]])
    assert health(always, always, EXPERTS, []).collapsed == []
    assert health(np.tile(always, (2, 1, 1)), np.tile(always, (2, 1, 1)), EXPERTS, []).collapsed == [1]


def test_a_control_is_told_apart_by_the_corrected_p_value():
    findings = conclude(*seen({"null": (0.0, 0.0, 0.0)}), EXPERTS).findings
    (control,) = findings.controls
    by_chance = replace(findings, controls=[replace(control, p=0.04, p_corrected=0.08)])
    assert not any("routed differently" in line for line in _remarks(by_chance))
    apart = replace(findings, controls=[replace(control, p=0.02, p_corrected=0.04)])
    assert "p = 0.040): experts listen" in _remarks(apart)[0]


def test_a_control_of_few_recordings_is_no_fault():
    report = conclude(*seen({"null": (0.0, 0.0, 0.0)}, apart=4.0, few={"null": 5}), EXPERTS)
    assert not any("scores depend on the condition" in line for line in report.remarks)


@pytest.mark.parametrize(("apart", "told"), [(0.0, False), (4.0, True)])
def test_a_control_that_is_told_by_its_score_is_remarked(apart, told):
    report = conclude(*seen({"null": (0.0, 0.0, 0.0)}, apart=apart), EXPERTS)
    assert any("scores depend on the condition" in line for line in report.remarks) is told


def test_the_whole_analysis_is_json_and_finds_the_odd_one():
    report = conclude(*seen({"odd": (3.0, 0.0, 3.0), "null": (0.0, 0.0, 0.0)}, apart=0.0), EXPERTS)
    content = json.loads(to_json(report.as_dict()))
    assert content["usage"]["odd"] == pytest.approx({"one": 0.9, "two": 0.1})
    findings = report.findings
    far = {(item.one, item.other): item.p_corrected for item in findings.distances}
    assert far["null", "odd"] < 0.05 and far["odd", "bonafide"] < 0.05 and far["null", "bonafide"] > 0.05
    assert [(item.one, item.p > 0.05) for item in findings.controls] == [("null", True)]
    assert findings.clustering.merges[0][:2] in ((0, 2), (2, 0))
    assert findings.clustering.order[0] == "odd" or findings.clustering.order[-1] == "odd"
    assert findings.depth[0].information_bits > 0.1
    assert findings.co_firing.keys() == set(report.attacks)
    assert [cell.utterances for cell in findings.cells] == [EACH] * 3
    assert not report.remarks or "never act" in report.remarks[0]


def test_without_bona_fide_speech_a_remark_says_what_there_is_nothing_to_measure_against():
    observed, corpus = seen({"buzz": (3.0, 0.0, 3.0)})
    kept = np.flatnonzero(~corpus.bona_fide)
    forged = replace(
        observed,
        **{
            name: getattr(observed, name)[kept]
            for name in ("seen", "scores", "bare", "told", "gates", "without")
        },
        **{name: np.arange(len(kept)) for name in ("profiled", "ablated")},
        before=observed.before[kept],
    )
    report = conclude(forged, corpus.of(kept), EXPERTS)
    assert report.findings.ablation and not report.findings.verdicts
    assert report.remarks[0].startswith("there is no bona fide speech to measure against")


def test_a_condition_that_is_routed_apart_is_remarked():
    observed, corpus = seen({"buzz": (0.0, 0.0, 0.0)})
    real = np.flatnonzero(corpus.bona_fide)
    conditions = np.array(["none"] * len(corpus), dtype=object)
    conditions[real[::2]] = "opus"
    gates = observed.gates.copy()
    gates[real[::2]] = (0.8, 0.2)
    heard = replace(corpus, conditions=tuple(conditions.tolist()))
    tally = Tally.empty(len(heard.rows), 1, 2)
    tally.counts += 1
    report = conclude(replace(observed, gates=gates, tally=tally), heard, EXPERTS)
    (found,) = report.findings.controls
    assert (found.one, found.p < 0.01) == ("bonafide, opus", True)
    assert "experts listen to the condition" in report.remarks[0]


def test_closed_gates_have_no_busiest_expert_and_nothing_is_read_from_them():
    observed, corpus = seen({"buzz": (0.0, 0.0, 0.0), "hum": (0.0, 0.0, 0.0)})
    closed = (1e-18 * np.random.default_rng(0).random(observed.gates.shape)).astype(np.float32)
    tally = Tally.empty(len(corpus.rows), 1, 2)
    tally.counts += EACH
    found = conclude(
        replace(observed, gates=0 * closed, before=closed, tally=tally), corpus, EXPERTS
    ).findings
    assert [(item.busiest, item.share, item.information_bits) for item in found.depth] == [(None, 0.0, 0.0)]
    assert found.probe is None
    assert conclude(*seen({"odd": (0.0, 0.0, 0.0)}), EXPERTS).findings.probe is not None


def test_one_kind_of_speech_has_no_distance_to_others():
    observed, corpus = seen({"buzz": (0.0, 0.0, 0.0)}, few={"bonafide": 0})
    (block,) = conclude(observed, corpus, EXPERTS).findings.depth
    assert (block.information_bits, block.distance, block.busiest) == (None, None, "one")
