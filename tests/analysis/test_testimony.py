"""Whose attack the readout's witnesses name, and what the EER is without each of them."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console, Group

from molex_adapt import Run, metrics, witnesses
from molex_adapt.analysis import Corpus, conclude, observe_features, observe_table
from molex_adapt.analysis.flat import flat_tables
from molex_adapt.analysis.testimony import Witnesses
from molex_adapt.analysis.witnessed import witnesses_of
from molex_adapt.base import load_base
from molex_adapt.calibration import Calibration
from molex_adapt.cli.analysis_view import analysis_view
from molex_adapt.cli.output import to_json
from molex_adapt.data import read
from molex_adapt.detector import Detector
from molex_adapt.features import extract, readings_of
from molex_adapt.readout.readout import ANY
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout
from molex_adapt.train.stages import append_expert
from tests.analysis.test_conclude import EACH, EXPERTS, seen

RUN = Run(workers=1, cache="off")
BOTH = ("one/buzz", "two/known")
IDLE = {"buzz": (0.0, 0.0, 0.0), "known": (0.0, 0.0, 0.0)}


@pytest.fixture
def learnt(tiny_folder_of, tiny_recipe, recorded, tmp_path):
    """A detector with an expert and a readout that learnt two attacks, their table, and its features."""
    torch.manual_seed(0)
    detector = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    append_expert(detector, "buzz", detector.recipe, 0)
    table = read(recorded(tmp_path / "data", bona_fide=14, buzz=14, hum=14))
    features, _ = extract(detector, table, RUN)
    data = DomainData(table, features, features, features, (), ())
    learn_readout(detector, {name: data.of_attacks((name,)) for name in ("buzz", "hum")}, RUN)
    detector.head.readout.share.fill_(0.7)
    detector.calibration = Calibration(1.5, -0.25)
    return detector, table, features


def shown(report) -> str:
    file = StringIO()
    Console(file=file, width=80).print(Group(*analysis_view(report)), crop=False)
    return file.getvalue()


def test_a_silenced_witness_is_one_that_was_taken_away_but_for_what_all_recordings_share(learnt):
    detector, _, features = learnt
    readout = detector.head.readout
    for of_any in (False, True):
        if of_any:
            readout.add(ANY, readout.weights[0].flip(0), Calibration(0.5, 0.1))
            for part in (readout.weights, readout.scales):
                part.copy_(part.roll(1, 0))
            readout.names = torch.from_numpy(witnesses.bytes_of([ANY, *readout.witnesses[:-1]]))
            readout.owners = tuple(name.partition("/")[0] for name in readout.witnesses)
        observed = observe_features(detector, features)
        assert observed.witnesses == readout.witnesses == witnesses_of(detector)
        said = readout.each(readings_of(detector, features)).numpy()
        np.testing.assert_allclose(observed.witnessed, said, atol=0.05)
        head = {f"readout.{name}": value.numpy() for name, value in readout.state_dict().items()}
        for at, name in enumerate(observed.witnesses):
            expert = name.split("/")[0]
            rest = witnesses.without(head, expert)
            other = type(readout)(readout.seen)
            other.load_state_dict(
                {key.removeprefix("readout."): torch.from_numpy(value) for key, value in rest.items()}
            )
            told = other.share * other.evidence(readings_of(detector, features))
            expected = observed.bare + 1.5 * told.numpy() - (observed.told)
            apart = observed.silenced[:, at] - expected
            # Pooled states are kept in half precision.
            assert np.ptp(apart) < 0.1 < np.ptp(observed.silenced[:, at] - observed.scores)


def test_a_readout_of_one_witness_says_nothing_without_it_and_none_has_no_columns(learnt):
    detector, table, features = learnt
    head = {name: value.numpy() for name, value in detector.head.state_dict().items()}
    alone = witnesses.without(head, "hum")
    detector.head.load_state_dict({name: torch.from_numpy(value) for name, value in alone.items()})
    observed = observe_features(detector, features)
    np.testing.assert_allclose(observed.silenced[:, 0], observed.bare - observed.told, atol=1e-4)
    report = conclude(observed, Corpus.of_features(features), ["buzz"])
    assert report.findings.testimony == report.findings.without_witness == []
    detector.head.readout = None
    unheard, _ = observe_table(detector, table, RUN)
    assert unheard.witnessed.shape == unheard.silenced.shape == (len(table), 0)


def test_witnesses_name_attacks_by_bayes_and_the_share_that_they_name_right_is_counted():
    observed, corpus = seen(IDLE, witnesses=(ANY, *BOTH))
    found = {item.attack: item for item in Witnesses(observed, corpus).testimonies()}
    assert set(found) == {"buzz", "known", "bonafide"}
    one, two = (np.exp(-observed.witnessed[:EACH, at]) for at in (1, 2))
    assert found["buzz"].blamed == pytest.approx(
        {"buzz": (one / (one + two)).mean(), "known": (two / (one + two)).mean()}
    )
    right = float((one > two).mean())
    assert found["buzz"].named == right and found["buzz"].named_ci[0] <= right <= found["buzz"].named_ci[1]
    assert found["buzz"].named > 0.95 and found["bonafide"].named is None
    assert found["buzz"].utterances == EACH
    few, fewer = seen(IDLE, few={"buzz": 5}, witnesses=BOTH)
    assert {item.attack: item for item in Witnesses(few, fewer).testimonies()}["buzz"].named_ci is None


def test_a_witness_is_needed_where_the_eer_certainly_rises_without_it_and_the_verdict_names_it():
    observed, corpus = seen(IDLE, witnesses=BOTH)
    observed = replace(observed, told=observed.scores)
    report = conclude(observed, corpus, EXPERTS)
    found = {(item.attack, item.witness): item for item in report.findings.without_witness}
    assert set(found) == {(attack, name) for attack in IDLE for name in IDLE}
    real, fake = observed.scores[corpus.bona_fide], observed.scores[:EACH]
    own, other = found["buzz", "buzz"], found["buzz", "known"]
    assert own.eer_change == pytest.approx(metrics.eer(real, fake + 3) - metrics.eer(real, fake))
    assert own.is_needed and own.eer_ci_together[0] <= own.eer_ci[0] <= own.eer_change
    assert (other.eer_change, other.is_needed, other.is_harmful) == (0.0, False, False)
    verdict = report.findings.verdict_on("buzz")
    assert (verdict.kind, verdict.witnesses) == ("readout", ["buzz"])
    assert "the readout alone (its witness for buzz), EER" in verdict.sentence


def test_the_null_control_and_speech_without_the_other_class_have_no_change_of_the_eer():
    observed, corpus = seen(IDLE | {"null": (0.0, 0.0, 0.0)}, witnesses=BOTH)
    found = Witnesses(observed, corpus).without_each()
    assert {item.attack for item in found} == set(IDLE)
    forged = replace(corpus, attacks=("buzz",) * len(corpus))
    assert Witnesses(observed, forged).without_each() == []


def test_two_experts_may_know_attacks_of_one_name():
    names = ("one/buzz", "two/buzz", "two/hum", ANY)
    assert witnesses.labels_of(names) == ["one/buzz", "two/buzz", "hum", "any attack"]
    assert [witnesses.attack_of(name) for name in ("One/BUZZ", ANY)] == ["buzz", None]


def test_terminal_json_and_tables_show_them():
    observed, corpus = seen(IDLE, witnesses=(ANY, *BOTH))
    report = conclude(observed, corpus, EXPERTS)
    text = shown(report)
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text[text.index("Whose attack") :].splitlines()]
    assert next(row for row in rows if row[:1] == ["buzz"])[-2:] == ["100", "%"]
    assert "Without a witness of the readout: change of the EER in points" in text
    assert "any attack" in text and "* certain among all attacks and witnesses" in text
    found = json.loads(to_json(report.as_dict()))["findings"]
    assert {item["attack"] for item in found["testimony"]} == {"buzz", "known", "bonafide"}
    tables = {table.name: table.records() for table in flat_tables(report)}
    blamed = {(row["attack"], row["witness"]): row for row in tables["witnesses"]}
    assert blamed["buzz", "any attack"]["blamed"] is None and blamed["bonafide", "buzz"]["eer_change"] is None
    assert blamed["buzz", "buzz"]["certain"] == "rises"
    assert [row["attack"] for row in tables["named"]] == ["buzz", "known"]


def test_where_no_expert_acts_nothing_is_said_of_experts():
    observed, corpus = seen(IDLE, witnesses=BOTH)
    for part in (observed.tally.gates, observed.tally.before, observed.tally.chosen):
        part.zero_()
    text = shown(conclude(observed, corpus, EXPERTS))
    assert "No expert acts on this speech" in text and "Whose attack" in text
    assert not any(
        said in text for said in ("Which experts act", "Without an expert", "Routed apart", "By block")
    )
