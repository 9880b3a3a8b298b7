"""An expert is withdrawn that does harm where the readout alone is accepted, or that brings nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from molex_adapt import Run
from molex_adapt.errors import DataError
from molex_adapt.features import logits_of, readings_of
from molex_adapt.low_level import STATISTICS
from molex_adapt.metrics import eer_threshold
from molex_adapt.mixture import ExpertSpec
from molex_adapt.reports import Gain
from molex_adapt.routing import collect
from molex_adapt.train import adapt, former, judgement, loop, withdrawal
from molex_adapt.train.acceptance import score_sets
from molex_adapt.train.adapt import add_expert, retrain_routers, train_first
from molex_adapt.train.adopt import adopt_expert

CERTAIN, NOTHING = (Gain(nats, 0.3 - nats, 8, "voices", (0.2, 0.1)) for nats in (0.2, 0.1))


def told(features, shift):
    """The same utterances with spectra that tell the classes apart."""
    rows = torch.randn(len(features), STATISTICS, generator=torch.Generator().manual_seed(len(features)))
    rows[~features.bona_fide, 7] += shift
    return replace(features, statistics=rows)


def newest_is_best(state, now, least):
    """Keep the last weights, whatever they come to."""
    state.standing.best_step, state.kept = state.standing.step, loop._copy(state.trained)


@pytest.fixture
def data_of(domain_of):
    def make(attack, count=8, seed=0, shift=6.0):
        data = domain_of(attack, count, seed)
        return replace(data, **{name: told(getattr(data, name), shift) for name in ("train", "dev", "test")})

    return make


@pytest.fixture
def untrained(detector_of, tiny_recipe):
    stage = {"steps": 4, "evaluate_every": 1}
    return detector_of(tiny_recipe(head={"readout": True}, joint={"steps": 4}, expert=stage))


@pytest.fixture
def trained(untrained, data_of, monkeypatch):
    """A first expert that is at work, whatever it brought."""
    with monkeypatch.context() as patch:
        patch.setattr(withdrawal, "gain_of", lambda *given: CERTAIN)
        first = train_first(untrained, {"hum": data_of("hum")}, untrained.recipe, Run())
    assert not first.withdrawn
    return untrained, first


def test_a_first_expert_that_brings_nothing_leaves_the_readout(untrained, data_of, monkeypatch):
    data, asked = data_of("hum"), []

    def gain(without, with_it, development, voices):
        asked.append((without.losses - with_it.losses, development, voices))
        return NOTHING

    monkeypatch.setattr(withdrawal, "gain_of", gain)
    monkeypatch.setattr(loop, "_judge", newest_is_best)
    monkeypatch.setattr(adapt, "voices_of", lambda table: {"of": table})
    first = train_first(untrained, {"hum": data}, untrained.recipe, Run())
    assert first.withdrawn and untrained.mixture.has_withdrawn("hum")
    assert first.gain is NOTHING
    ((fell, development, voices),) = asked
    assert len(fell) == len(data.dev) and development is data.dev and voices == {"of": data.table}
    bona_fide = data.dev.bona_fide.numpy()
    assert np.abs(fell).max() > 0
    remarks = [line for line in first.remarks if "hum is withdrawn: kept, with closed gates" in line]
    assert len(remarks) == 1 and not any("experts come on top" in line for line in first.remarks)
    readout = untrained.head.readout
    for features in (data.dev, data.test):
        said = readout.share * readout.evidence(readings_of(untrained, features))
        torch.testing.assert_close(logits_of(untrained, features), said, atol=1e-4, rtol=1e-4)
    scores = untrained.calibration.apply(logits_of(untrained, data.dev).double().numpy())
    assert first.threshold == pytest.approx(
        eer_threshold(scores[bona_fide], scores[~bona_fide])
    )  # of what stands, and not of what was withdrawn


@pytest.mark.parametrize("sharing", [(), ("only",)])
def test_a_single_expert_is_led_to_its_domain_by_whatever_name(untrained, data_of, monkeypatch, sharing):
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: CERTAIN)
    data = data_of("hum")
    train_first(untrained, {"hum": data}, untrained.recipe, Run(), sharing)
    shares = collect(untrained, data.train).gates.mean((1, 2))
    own, other = shares[~data.train.bona_fide], shares[data.train.bona_fide]
    assert float(own.mean()) > 0.6 and float(other.mean()) < 0.4


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_asked_for_as_several_is_not_withdrawn(untrained, data_of, monkeypatch, count):
    """Of several experts nothing says which one brought nothing; a head without a readout needs its own."""
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: NOTHING)
    if count == 1:
        first = train_first(untrained, {"hum": data_of("hum")}, untrained.recipe, Run(), sharing=["a", "b"])
    else:
        domains = {"hum": data_of("hum"), "buzz": data_of("buzz", seed=3)}
        first = train_first(untrained, domains, untrained.recipe, Run())
    assert not first.withdrawn


@pytest.mark.parametrize("accept", [False, True])
def test_the_readout_stays_where_the_expert_is_refused(trained, data_of, monkeypatch, accept):
    detector, first = trained
    new, calls = data_of("buzz", seed=3), []

    def judged(changes, real_speech, new_domain, *rest):
        calls.append(new_domain)
        return ["bona fide speech: worse"] if len(calls) == 2 else []  # the first is the readout alone

    monkeypatch.setattr(judgement, "refusals", judged)
    monkeypatch.setattr(judgement, "unproven", lambda *given: [])
    monkeypatch.setattr(judgement, "caught_at_threshold", lambda *given: True)
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: CERTAIN)
    monkeypatch.setattr(loop, "_judge", newest_is_best)
    before = [router.rows.table.clone() for router in detector.mixture.routers]
    result = add_expert(
        detector, "buzz", "buzz", new, {}, first.threshold, detector.recipe, Run(), accept=accept
    )
    assert detector.head.readout.witnesses == ("hum/hum", "buzz/buzz")
    assert result.withdrawn == (not accept)
    assert len(result.told) == 1  # of the one that stands
    closed = [router.withdrawn.tolist() for router in detector.mixture.routers]
    assert all(own == [False, not accept] for own in closed)
    stayed = [
        torch.equal(router.rows.table[:1], own)
        for router, own in zip(detector.mixture.routers, before, strict=True)
    ]
    assert all(own == (not accept) for own in stayed)  # the router stage is taken back too
    if accept:
        assert result.refused == ["bona fide speech: worse"]
        return
    assert result.refused == []
    why = "expert buzz is withdrawn: kept, with closed gates, for with it bona fide"
    assert any(why in remark for remark in result.remarks)
    # What is reported is what the detector does now.
    scored = score_sets(detector, {"buzz": new.test})["buzz"]
    again = adapt.rates({"buzz": scored})["buzz"]
    assert again.eer == pytest.approx(result.after["buzz"].eer)


@pytest.mark.parametrize("accept", [False, True])
def test_an_expert_that_learnt_nothing_is_withdrawn(trained, data_of, accept):
    detector, first = trained
    recipe = detector.recipe.model_copy(
        update={"expert": detector.recipe.expert.model_copy(update={"steps": 0})}
    )
    result = add_expert(
        detector, "buzz", "buzz", data_of("buzz", seed=3), {}, first.threshold, recipe, Run(), accept=accept
    )
    assert result.withdrawn  # accepted or not
    assert all(router.withdrawn.tolist() == [False, True] for router in detector.mixture.routers)
    assert "router" in result.stages  # what both stages bring is judged
    assert any(
        "for on the development split its training brought nothing certain" in line for line in result.remarks
    )


def test_a_later_expert_is_judged_over_the_voices_of_its_domain(trained, data_of, monkeypatch):
    detector, first = trained
    new, asked = data_of("buzz", seed=3), []
    monkeypatch.setattr(former, "voices_among", lambda old, data: {"of": list(data)})
    for module in (judgement, withdrawal):
        monkeypatch.setattr(module, "compare_all", lambda *given: None)
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: asked.append(given) or NOTHING)
    result = add_expert(detector, "buzz", "buzz", new, {}, first.threshold, detector.recipe, Run())
    ((_, _, development, voices),) = asked
    assert development is new.dev and voices == {"of": [new]}
    assert result.gain is NOTHING
    assert result.withdrawn and any(str(NOTHING) in line for line in result.remarks)


@pytest.mark.parametrize("if_needed", [False, True])
def test_no_expert_is_trained_where_none_is_needed(trained, data_of, monkeypatch, if_needed):
    detector, first = trained
    monkeypatch.setattr(judgement, "refusals", lambda *given: [])
    monkeypatch.setattr(judgement, "unproven", lambda *given: [])
    gate = detector.recipe.gate.model_copy(update={"known": 1.0})
    recipe = detector.recipe.model_copy(update={"gate": gate})
    new = data_of("buzz", seed=3, shift=1.0)
    result = add_expert(
        detector, "buzz", "buzz", new, {}, first.threshold, recipe, Run(), if_needed=if_needed
    )
    assert ("expert" in result.stages) == (not if_needed)
    assert result.withdrawn or not if_needed
    assert "buzz/buzz" in detector.head.readout.witnesses
    scored = score_sets(detector, {"buzz": new.test})["buzz"]
    assert adapt.rates({"buzz": scored})["buzz"].eer == pytest.approx(result.after["buzz"].eer)


def only_read(detector, data_of):
    """A first mixture of two domains whose experts are all untrained."""
    domains = {"hum": data_of("hum"), "buzz": data_of("buzz", seed=3)}
    return train_first(detector, domains, detector.recipe, Run(), readout_only=True), domains


def test_the_readout_alone_learns_several_domains_and_no_expert_is_trained(untrained, data_of):
    detector = untrained
    result, domains = only_read(detector, data_of)
    assert result.stages == {} and result.withdrawn and result.refused == []
    for name, data in domains.items():
        assert detector.mixture.has_withdrawn(name) and detector.mixture.is_untrained(name)
        scored = score_sets(detector, {name: data.test})[name]
        readout = detector.head.readout
        evidence = readout.share * readout.evidence(readings_of(detector, data.test))
        said = detector.calibration.apply(evidence.double().numpy())
        np.testing.assert_allclose(scored.scores, said, atol=1e-4)
        assert result.after[name].eer == pytest.approx(adapt.rates({name: scored})[name].eer)
    # Experts that come later read what routers are told here.
    assert all((router.spread != 1).all() for router in detector.mixture.routers)
    assert "no expert was trained for hum, buzz: the readout alone was asked for" in result.remarks


def test_the_head_learns_with_the_first_expert_that_is_trained_and_then_never_again(
    untrained, data_of, monkeypatch
):
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: CERTAIN)
    monkeypatch.setattr(judgement, "refusals", lambda *given: [])
    monkeypatch.setattr(judgement, "unproven", lambda *given: [])
    monkeypatch.setattr(loop, "_judge", newest_is_best)
    detector = untrained
    first, _ = only_read(detector, data_of)
    heads = [head_of(detector)]
    for number, name in enumerate(("saw", "whistle")):
        add_expert(
            detector, name, name, data_of(name, seed=5 + number), {}, first.threshold, detector.recipe, Run()
        )
        assert not detector.mixture.is_untrained(name)
        heads.append(head_of(detector))
    assert not torch.equal(heads[0], heads[1])
    assert torch.equal(heads[1], heads[2])


def test_a_first_domain_for_the_readout_alone_fixes_what_routers_read(untrained, data_of):
    """As where the mixture began with a published detector: later experts are none the first any more."""
    detector = untrained
    add_expert(detector, "hum", "hum", data_of("hum"), {}, 0.0, detector.recipe, Run(), readout_only=True)
    assert detector.mixture.is_untrained("hum")
    assert all((router.spread != 1).all() for router in detector.mixture.routers)


def test_routers_are_retrained_beside_what_the_readout_says_of_all_recordings(trained, data_of, monkeypatch):
    detector, first = trained
    pools = []
    inner = adapt.router_stage
    monkeypatch.setattr(
        adapt,
        "router_stage",
        lambda detector, given, *rest, **how: (pools.extend(given), inner(detector, given, *rest, **how))[1],
    )
    known = data_of("hum", seed=4)
    retrain_routers(detector, {"hum": known}, {}, first.threshold, detector.recipe, Run())
    readout = detector.head.readout
    evidence = readout.evidence(readings_of(detector, known.train))
    torch.testing.assert_close(pools[0].told, readout.share * evidence)
    assert pools[0].told.abs().max() > 0.1


def head_of(detector):
    return torch.cat([parameter.detach().flatten().clone() for parameter in detector.head.parameters()])


def test_a_further_domain_for_the_readout_alone_is_judged_like_any_other(trained, data_of, monkeypatch):
    detector, first = trained
    before, new = head_of(detector), data_of("buzz", seed=3)
    monkeypatch.setattr(judgement, "refusals", lambda *given: ["worse"])
    result = add_expert(
        detector, "buzz", "buzz", new, {}, first.threshold, detector.recipe, Run(), readout_only=True
    )
    assert result.stages == {} and result.withdrawn and "worse" in result.refused
    assert detector.mixture.is_untrained("buzz")
    assert "buzz/buzz" in detector.head.readout.witnesses
    assert torch.equal(before, head_of(detector))


def test_without_a_readout_an_expert_has_to_be_trained(detector_of, tiny_recipe, domain_of, data_of):
    with_none = detector_of(tiny_recipe())
    with pytest.raises(DataError, match="this mixture has none. Train an expert"):
        train_first(with_none, {"hum": domain_of("hum")}, with_none.recipe, Run(), readout_only=True)
    alike = detector_of(tiny_recipe(head={"readout": True}))
    data = domain_of("hum")
    # Nothing was heard of these recordings: there is nothing to learn from.
    unheard = {
        name: replace(
            getattr(data, name), statistics=torch.full((len(getattr(data, name)), STATISTICS), torch.nan)
        )
        for name in ("train", "dev", "test")
    }
    with pytest.raises(DataError, match="it learnt nothing from these recordings"):
        train_first(alike, {"hum": replace(data, **unheard)}, alike.recipe, Run(), readout_only=True)


def test_nothing_is_withdrawn_where_the_readout_is_refused_too(trained, data_of, monkeypatch):
    detector, first = trained
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: CERTAIN)
    monkeypatch.setattr(judgement, "refusals", lambda *given: ["worse"])
    result = add_expert(
        detector, "buzz", "buzz", data_of("buzz", seed=3), {}, first.threshold, detector.recipe, Run()
    )
    assert result.refused[0] == "worse"
    assert not result.withdrawn
    assert not any(bool(router.withdrawn.any()) for router in detector.mixture.routers)


@pytest.mark.parametrize("was_trained", [False, True])
def test_an_expert_from_elsewhere_that_was_never_trained_gets_closed_gates(trained, was_trained):
    detector, first = trained
    spec = ExpertSpec("far", 2, 4.0)
    weights = {}
    for path, layer in detector.mixture.placed.items():
        weights[f"{path}.lora_A"], up = layer.fresh(spec, torch.Generator().manual_seed(1))
        weights[f"{path}.lora_B"] = up + 0.1 * was_trained
    rows = [torch.zeros(router.width + 1) for router in detector.mixture.routers]
    result = adopt_expert(detector, spec, weights, rows, "far", None, {}, first.threshold, detector.recipe)
    assert detector.mixture.has_withdrawn("far") == (not was_trained)
    assert ("expert far was never trained: its gates stay closed" in result.remarks) == (not was_trained)


def test_a_head_goes_on_learning_after_its_first_expert_was_withdrawn(untrained, data_of, monkeypatch):
    monkeypatch.setattr(judgement, "refusals", lambda *given: [])
    monkeypatch.setattr(judgement, "unproven", lambda *given: [])
    monkeypatch.setattr(loop, "_judge", newest_is_best)
    first, _ = only_read(untrained, data_of)
    as_drawn = head_of(untrained)
    for name, gain in (("saw", NOTHING), ("whistle", CERTAIN), ("siren", CERTAIN)):
        before = head_of(untrained)
        monkeypatch.setattr(withdrawal, "gain_of", lambda *given, gain=gain: gain)
        new = data_of(name, seed=len(name))
        result = add_expert(untrained, name, name, new, {}, first.threshold, untrained.recipe, Run())
        assert result.withdrawn == (gain is NOTHING) and not untrained.mixture.is_untrained(name)
        if name == "saw":  # what it taught the head went with it
            assert torch.equal(head_of(untrained), as_drawn)
        elif name == "whistle":
            assert not torch.equal(head_of(untrained), as_drawn)
        else:
            assert torch.equal(head_of(untrained), before)


def test_what_the_readouts_part_is_in_the_score_is_said_once(untrained, data_of, monkeypatch):
    """Of an expert that comes to a mixture without any, and is withdrawn: as the mixture is then."""
    monkeypatch.setattr(withdrawal, "gain_of", lambda *given: NOTHING)
    result = add_expert(untrained, "hum", "hum", data_of("hum"), {}, 0.0, untrained.recipe, Run())
    assert result.withdrawn
    assert sum("experts come on top" in line for line in result.remarks) == 1
