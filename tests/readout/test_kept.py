"""What a readout keeps of each domain: to extend, to take away, to send."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.data import read
from molex_adapt.errors import RegistryError
from molex_adapt.readout import Readings, Readout, learn
from molex_adapt.registry import Store, layout
from molex_adapt.registry.assemble import require_head
from molex_adapt.shipped import registry_path
from molex_adapt.witnesses import brought_speech, bytes_of, names_of, speech_arrays, with_those_of, without
from tests.readout.lessons import STATES, arrays_of, lesson, pair, wrong


def kept_of(arrays, speech) -> dict[str, np.ndarray]:
    return speech_arrays(arrays, [part.numpy() for part in speech])


def test_a_further_domain_leaves_the_witnesses_as_they_are_and_is_taken_away_without_a_trace():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    held = lesson(200, 9, {"buzz": 5})
    before, kept = readout.evidence(held.readings), readout.each(held.readings)
    former = arrays_of(readout)
    taught = learn(readout, {"two": pair({"hum": 70, "hiss": 71}, seed=3)}).speech
    assert readout.witnesses == ("one/buzz", "two/hiss", "two/hum")
    torch.testing.assert_close(
        readout.each(held.readings)[:, :1], kept
    )  # not to the bit: products differ in width
    # A mixture of attacks: what one witness says of its own attack costs at most the logarithm of their number.
    after = readout.evidence(held.readings)
    assert (after[~held.bona_fide] <= before[~held.bona_fide] + np.log(3) + 1e-4).all()
    assert wrong(after, held.bona_fide) < 0.15
    other = lesson(200, 11, {"hum": 70})
    assert wrong(readout.evidence(other.readings), other.bona_fide) < 0.15
    arrays = {f"readout.{name}": value.numpy() for name, value in readout.state_dict().items()}
    left = without(arrays, "two", kept_of(arrays, taught["two"]))
    again = Readout(STATES)
    again.load_state_dict(
        {name.removeprefix("readout."): torch.from_numpy(value) for name, value in left.items()}
    )
    assert again.witnesses == ("one/buzz",)
    assert torch.equal(again.evidence(held.readings), before)
    assert left.keys() == former.keys()
    for name, value in former.items():
        exact = np.array_equal if "moments" not in name else partial(np.allclose, rtol=1e-5, atol=1e-6)
        assert exact(left[name], value), name
    stays = without(arrays, "two")  # of an expert that was made before its part was kept
    assert np.array_equal(stays["readout.of_states.moments"], arrays["readout.of_states.moments"])
    # What is learnt later is as if it had never been there.
    never = Readout(STATES)
    learn(never, {"one": pair({"buzz": 5})})
    for each in (again, never):
        learn(each, {"three": pair({"click": 40}, seed=7)})
    torch.testing.assert_close(again.weights, never.weights, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again.scales, never.scales, rtol=1e-3, atol=1e-4)


def test_a_domain_without_a_witness_leaves_nothing_behind():
    readout = Readout(STATES)
    learn(readout, {"one": pair({"buzz": 5})})
    before = arrays_of(readout)
    train, development = pair({"hum": 70}, seed=3)
    alike = [
        replace(part, readings=Readings(0 * part.readings.spectrum, 0 * part.readings.states))
        for part in (train, development)
    ]
    found = learn(readout, {"two": (alike[0], alike[1])})
    assert found.speech == {} and "no witness for hum" in found.remarks[0]
    after = arrays_of(readout)
    assert all(np.array_equal(after[name], value) for name, value in before.items())


def test_experts_may_come_in_any_order_and_go_again():
    first = Readout(STATES)
    learn(first, {"one": pair({"buzz": 5})})
    begun = arrays_of(first)
    sent, kept = {}, {}
    for name, attack, seed in (("two", "hum", 3), ("three", "hiss", 4)):
        own = copy.deepcopy(first)
        speech = learn(own, {name: pair({attack: 70}, seed=seed)}).speech[name]
        sent[name], kept[name] = arrays_of(own), kept_of(begun, speech)

    def come(*names: str) -> dict[str, np.ndarray]:
        head = begun
        for name in names:
            head = with_those_of(head, sent[name], name, name, kept[name])
        return head

    both, other = come("two", "three"), come("three", "two")
    assert both["readout.domains"] == other["readout.domains"] == 3
    for name in ("of_spectrum", "of_states"):
        moments = f"readout.{name}.moments"
        assert np.allclose(both[moments], other[moments], rtol=1e-5, atol=1e-6)
        assert not np.allclose(both[moments], begun[moments], rtol=1e-3)
        alone = without(both, "two", kept["two"])
        assert np.allclose(alone[moments], come("three")[moments], rtol=1e-5, atol=1e-6)
        assert np.allclose(
            without(alone, "three", kept["three"])[moments], begun[moments], rtol=1e-5, atol=1e-6
        )
        nothing = without(without(alone, "three", kept["three"]), "one", kept["two"])
        assert nothing["readout.domains"] == 0
    stranger = Readout(STATES)
    learn(stranger, {"x": pair({"buzz": 5}, seed=9)})
    assert not brought_speech(arrays_of(stranger), kept["two"])
    assert brought_speech(begun, kept["two"]) and not brought_speech(begun, None)


def test_witnesses_travel_between_readouts_of_the_same_features():
    ours = Readout(STATES)
    learn(ours, {"one": pair({"buzz": 5})})
    theirs = arrays_of(ours)
    learn(ours, {"two": pair({"hum": 70, "hiss": 71}, seed=3)})
    sent = arrays_of(ours)
    found = with_those_of(theirs, sent, "two", "other")
    assert names_of(found["readout.names"]) == ("one/buzz", "other/hiss", "other/hum")
    assert np.array_equal(found["readout.weights"], sent["readout.weights"])
    again = Readout(STATES)
    again.load_state_dict(
        {name.removeprefix("readout."): torch.from_numpy(value) for name, value in found.items()}
    )
    held = lesson(50, 8, {"buzz": 5}).readings
    assert torch.equal(again.each(held), ours.each(held))
    assert with_those_of(theirs, sent, "three", "other") is None
    stranger = Readout(STATES)
    learn(stranger, {"x": pair({"buzz": 5}, seed=9)})
    assert with_those_of(arrays_of(stranger), sent, "two", "other") is None  # other features
    assert with_those_of({}, sent, "two", "other") is None  # no readout
    damaged = sent | {"readout.scales": sent["readout.scales"][:1]}
    assert with_those_of(theirs, damaged, "two", "other") is None


def test_a_line_break_in_a_name_makes_no_further_witness():
    assert names_of(bytes_of(["a/b\nc", "d/\ud800"])) == ("a/b c", "d/?")


def test_a_registry_keeps_the_readout_an_expert_extends_it_and_removal_takes_its_part(
    tmp_path, tiny_folder_of, tiny_recipe, recorded
):
    recipe = tiny_recipe(head={"readout": True})
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    run = Run(workers=1, device="cpu")
    for number, attack in enumerate(("buzz", "hum")):
        data = recorded(tmp_path / attack, bona_fide=12, first=300 * number, **{attack: 12})
        assert registry.add_expert(data, accept=True, domain=attack, recipe=recipe, run=run).activated
    readout = registry.detector().head.readout
    assert readout.witnesses == ("buzz/buzz", "hum/hum")
    table = read(tmp_path / "hum")
    scores = [item.score for item in registry.score(table, run=run).scores]
    again = [item.score for item in Registry.open(tmp_path / "registry").score(table, run=run).scores]
    assert scores == again
    registry.store.remove("hum")
    left = registry.detector().head.readout
    assert left.witnesses == ("buzz/buzz",)
    assert not any("statistics of real speech" in line for line in registry.store.generation().remarks)
    before = registry.detector(1).head.readout
    assert left.domains == before.domains == 1
    for one, other in zip(left.views, before.views, strict=True):
        torch.testing.assert_close(one.moments, other.moments, rtol=1e-5, atol=1e-6)
    assert torch.equal(left.weights, readout.weights[:1])
    assert not registry.store.verify()


def test_where_no_part_of_a_domain_is_kept_removal_says_what_stays(tmp_path):
    store = Store.copy(registry_path(), tmp_path / "registry")  # made before parts were kept
    former = store.head_tensors()
    store.remove("world")
    after = store.head_tensors()
    assert any("still have its recordings in them" in line for line in store.generation().remarks)
    for name in ("readout.of_spectrum.moments", "readout.of_states.moments", "readout.domains"):
        assert np.array_equal(after[name], former[name])


def test_a_head_whose_witnesses_lack_names_is_refused(tmp_path, tiny_folder_of, tiny_recipe, recorded):
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    data = recorded(tmp_path / "buzz", bona_fide=12, buzz=12)
    run = Run(workers=1, device="cpu")
    registry.add_expert(data, accept=True, domain="buzz", recipe=tiny_recipe(head={"readout": True}), run=run)
    head = registry.store.head_tensors(1)
    state = {name: torch.from_numpy(value) for name, value in head.items()}
    state["readout.names"] = state["readout.names"][:0]
    detector = registry.detector()
    with pytest.raises(RegistryError, match="0 names and 1 scales for 1 witnesses"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))
    state["readout.names"], state["readout.scales"] = (
        torch.from_numpy(head["readout.names"]),
        state["readout.scales"][:0],
    )
    with pytest.raises(RegistryError, match="1 names and 0 scales for 1 witnesses"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))
    state["readout.scales"] = torch.tensor(1.0)  # no length at all
    with pytest.raises(RegistryError, match="scales has shape"):
        require_head(detector.base, detector.recipe, state, layout.generation_folder(registry.store.path, 1))
