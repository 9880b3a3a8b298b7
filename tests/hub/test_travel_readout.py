"""What a readout knows travels with its experts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from molex_adapt import Registry
from molex_adapt.api.inputs import recordings
from molex_adapt.errors import RegistryError
from molex_adapt.features import score_table
from molex_adapt.registry import GenerationDraft
from molex_adapt.registry.assemble import router_arrays
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


@pytest.fixture(params=[True, False], ids=["alike", "apart"])
def alike(request) -> bool:
    return request.param


@pytest.fixture
def two_with_readouts(data, tiny_folder_of, tmp_path, alike):
    """Two registries with a first expert each: the same one, or one for another attack."""

    def make(recipe):
        ours = Registry.create(tmp_path / "ours", str(tiny_folder_of()))
        ours.add_expert(data("buzz"), accept=True, domain="buzz", recipe=recipe, run=CPU)
        if alike:
            shutil.copytree(ours.store.path, tmp_path / "theirs")
        else:
            theirs = Registry.create(tmp_path / "theirs", str(tiny_folder_of()))
            theirs.add_expert(data("tick"), accept=True, domain="tick", recipe=recipe, run=CPU)
        return ours, Registry.open(tmp_path / "theirs")

    return make


def test_what_the_readout_knows_of_its_attacks_comes_along(hub, data, tiny_recipe, two_with_readouts, alike):
    gate = {"tolerance": 1.0, "refused": 1.0}
    recipe = tiny_recipe(head={"readout": True}, exemplars={"replay": 8, "check": 8}, gate=gate)
    ours, theirs = two_with_readouts(recipe)
    name = hub.name("hum")
    ours.add_expert(data("hum"), accept=True, domain="hum", recipe=recipe, run=CPU)
    ours.hub.push("hum", name)
    report = theirs.pull(name, name="murmur", run=CPU)
    there, here = ours.detector(run=CPU).head.readout, theirs.detector(run=CPU).head.readout
    if alike:
        assert here.witnesses == ("buzz/buzz", "murmur/hum")
        assert torch.equal(here.weights, there.weights)
        assert here.domains == there.domains == 2  # and what is learnt next is alike
        for one, other in zip(here.views, there.views, strict=True):
            torch.testing.assert_close(one.moments, other.moments)
        assert any("1 witness(es) of its attacks came along" in line for line in report.remarks)
    else:
        assert here.witnesses == ("tick/tick",)
        assert any("stayed behind" in line for line in report.remarks)
    assert theirs.store.generation().calibration.scale == theirs.store.generation(1).calibration.scale
    before = theirs.store.head_tensors(1)
    after = theirs.store.head_tensors(theirs.store.remove("murmur"))
    for name, value in before.items():
        assert np.allclose(after[name], value, rtol=1e-5, atol=1e-6), name
    assert not any("statistics of real speech" in line for line in theirs.store.generation().remarks)
    assert theirs.store.verify() == []


def test_what_no_expert_was_trained_for_arrives_with_closed_gates(
    hub, data, tiny_recipe, two_with_readouts, alike
):
    recipe = tiny_recipe(head={"readout": True}, gate={"tolerance": 1.0, "refused": 1.0})
    ours, theirs = two_with_readouts(recipe)
    name = hub.name("hum")
    ours.add_expert(data("hum"), accept=True, domain="hum", recipe=recipe, readout_only=True, run=CPU)
    ours.hub.push("hum", name)
    report = theirs.pull(name, name="murmur", run=CPU)
    detector = theirs.detector(run=CPU)
    assert detector.mixture.has_withdrawn("murmur")
    assert any("never trained: its gates stay closed" in line for line in report.remarks)
    if alike:
        assert "murmur/hum" in detector.head.readout.witnesses


def test_an_empty_registry_gets_the_head_as_well(hub, lab, data):
    ours, bare, name = lab("ours"), lab("bare"), hub.name("hum")
    ours.hub.push("hum", name)
    report = bare.pull(name, name="first", run=CPU)
    assert report.activated
    assert bare.store.generation().threshold == ours.store.generation().threshold
    there = {item.path: item.score for item in bare.score(data("hum"), run=CPU).scores}
    detector = ours.detector(run=CPU)
    with detector.mixture.forcing("hum"):
        scored, _ = score_table(detector, recordings(data("hum")), CPU)
    assert len(there) == len(scored) == 32
    for item in scored:
        assert there[str(item.utterance.path)] == pytest.approx(item.score, abs=1e-5)
    assert bare.store.verify() == []


def test_an_empty_registry_gets_the_witnesses_of_what_it_pulls_alone(
    hub, lab, data, tiny_recipe, tmp_path, tiny_folder_of
):
    recipe = tiny_recipe(head={"readout": True}, gate={"tolerance": 1.0, "refused": 1.0})
    ours, bare = (Registry.create(tmp_path / name, str(tiny_folder_of())) for name in ("ours", "bare"))
    for domain in ("buzz", "hum"):
        ours.add_expert(data(domain), accept=True, domain=domain, recipe=recipe, run=CPU)
    first, second = hub.name("first"), hub.name("second")
    ours.hub.push("hum", first)
    ours.hub.push("buzz", second)
    bare.pull(first, name="mine", run=CPU)
    readout = bare.detector(run=CPU).head.readout
    assert readout.witnesses == ("mine/hum",) and readout.domains == 1
    bare.pull(second, run=CPU)
    there, here = ours.detector(run=CPU).head.readout, bare.detector(run=CPU).head.readout
    assert here.witnesses == ("mine/hum", "buzz/buzz")
    assert torch.equal(here.weights.flip(0), there.weights)
    assert here.domains == there.domains == 2
    for one, other in zip(here.views, there.views, strict=True):
        torch.testing.assert_close(
            one.moments, other.moments, rtol=1e-3, atol=1e-3
        )  # brought in half precision
    bare.store.remove("mine")
    assert bare.detector(run=CPU).head.readout.witnesses == ("buzz/buzz",)


def test_experts_that_were_not_trained_are_told_apart_by_what_was_learnt(
    hub, data, tiny_recipe, tmp_path, tiny_folder_of
):
    recipe = tiny_recipe(head={"readout": True}, gate={"tolerance": 1.0, "refused": 1.0})
    ours, theirs = (Registry.create(tmp_path / name, str(tiny_folder_of())) for name in ("ours", "theirs"))
    for registry, domain in ((ours, "buzz"), (theirs, "hum")):
        registry.train(data(domain), domain=domain, recipe=recipe, readout_only=True, run=CPU)
    name, again = hub.name("hum"), hub.name("again")
    theirs.hub.push("hum", name)
    ours.hub.push("buzz", again)
    assert ours.store.generation().experts[0].sha256 == theirs.store.generation().experts[0].sha256
    report = ours.pull(name, run=CPU)
    assert report.expert == "hum" and ours.store.generation().names == ["buzz", "hum"]
    with pytest.raises(RegistryError, match="is here already: expert 'buzz' has the same weights"):
        ours.pull(again, name="other", run=CPU)


def test_an_expert_that_is_withdrawn_where_it_comes_from_stays_so(
    hub, data, tiny_recipe, tmp_path, tiny_folder_of
):
    recipe = tiny_recipe(head={"readout": True}, gate={"tolerance": 1.0, "refused": 1.0})
    ours, theirs = (Registry.create(tmp_path / name, str(tiny_folder_of())) for name in ("ours", "theirs"))
    for registry, domains in ((ours, ["buzz", "hum"]), (theirs, ["tick"])):
        for domain in domains:
            registry.add_expert(data(domain), accept=True, domain=domain, recipe=recipe, run=CPU)
    withdraw(ours, "hum")
    name, whole = hub.name("hum"), hub.name("whole")
    for what, repository in (("hum", name), (None, whole)):
        pushed = ours.hub.push(what, repository)
        assert any("expert hum is withdrawn here" in line for line in pushed.remarks)
        card = Path(hub.api.hf_hub_download(repository, "README.md")).read_text()
        assert "**It is withdrawn**" in card or "hum. They change no score" in card
    report = theirs.pull(name, run=CPU)
    assert theirs.detector(run=CPU).mixture.has_withdrawn("hum")
    assert report.withdrawn and report.as_dict()["withdrawn"]
    assert "hum" in theirs.store.generation().withdrawn
    assert theirs.store.generation().pulled == ["hum"]
    assert ours.store.generation().pulled == []
    assert any("is withdrawn where it comes from: its gates stay closed" in line for line in report.remarks)


def test_where_nothing_acts_a_pull_says_so(hub, lab):
    ours, bare, name = lab("ours"), lab("bare"), hub.name("hum")
    withdraw(ours, "hum")
    ours.hub.push("hum", name)
    assert any("no expert acts here" in line for line in bare.pull(name, run=CPU).remarks)


def withdraw(registry, name):
    """Close the gates of an expert of the active generation."""
    detector = registry.detector(run=CPU)
    detector.mixture.withdraw(name)
    active = registry.store.generation()
    draft = GenerationDraft(
        parent=active.number,
        experts=active.names,
        router=router_arrays(detector),
        head=registry.store.head_tensors(),
        recipe=registry.store.recipe() or "",
        threshold=active.threshold,
    )
    registry.store.add_generation(draft, activate=True)
