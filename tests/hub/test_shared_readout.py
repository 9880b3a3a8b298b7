"""What of a readout that several experts share travels with one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from molex_adapt.errors import RegistryError
from molex_adapt.registry import GenerationDraft, files, layout
from molex_adapt.witnesses import names_of
from tests.hub.forging import ADAPTER, changed
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


def witnesses(store):
    return names_of(store.head_tensors()["readout.names"])


@pytest.fixture
def stock(hub, good_readout):
    """A repository with a stock adapter that fits."""
    name = hub.name("stock")
    weights = files.parse_tensors(good_readout[ADAPTER], Path(ADAPTER))
    other = {key: array + np.float16(0.01) for key, array in weights.items()}
    hub.upload(
        name,
        {layout.ADAPTER_CONFIG: good_readout[layout.ADAPTER_CONFIG], ADAPTER: files.dump_tensors(other)},
    )
    return name


def test_an_expert_without_witnesses_brings_none_of_others(hub, readout_lab, stock):
    ours, bare = readout_lab("ours"), readout_lab("bare")
    ours.pull(stock, name="s2", assume_base=True, run=CPU)
    again, hum = hub.name("s2"), hub.name("hum")
    ours.hub.push("s2", again)
    ours.hub.push("hum", hum)
    bare.pull(again, run=CPU)
    assert witnesses(bare.store) == ()
    assert bare.store.head_tensors()["readout.domains"][0] == 0
    bare.pull(hum, run=CPU)
    assert witnesses(bare.store) == ("hum/hum",)
    assert bare.store.head_tensors()["readout.domains"][0] == 1
    bare.store.remove("hum")
    assert witnesses(bare.store) == ()


def test_the_same_of_a_repository_that_holds_the_readout_of_all(hub, put, readout_lab, good_readout):
    """As it was pushed once."""
    head = {**readout_lab("ours").store.head_tensors()}
    head["readout.names"] = np.frombuffer(b"buzz/buzz\nzap/zap", np.uint8)
    put(hub.name("old"), changed(good_readout, layout.HEAD, files.dump_tensors(head)))
    bare = readout_lab("bare")
    report = bare.pull(hub.made[-1], run=CPU)
    assert witnesses(bare.store) == ()
    assert any("2 witness(es) of other experts' attacks stayed behind" in line for line in report.remarks)


def test_witnesses_of_a_name_that_has_some_are_refused(hub, readout_lab, unchanged):
    ours, first, name = readout_lab("ours"), readout_lab("first"), hub.name("hum")
    ours.hub.push("hum", name)
    active = first.store.generation()
    names = np.frombuffer(b"hum/hum", np.uint8)
    draft = GenerationDraft(
        parent=active.number,
        experts=active.names,
        router=first.store.router_tensors(),
        head={**first.store.head_tensors(), "readout.names": names},
        recipe=first.store.recipe() or "",
    )
    first.store.add_generation(replace(draft, threshold=active.threshold), activate=True)
    same = unchanged(first)
    with pytest.raises(RegistryError, match=r"witnesses of an expert 'hum' already.*--as NAME"):
        first.pull(name, run=CPU)
    same()


def test_what_is_pushed_again_claims_no_other_head_for_its_own(hub, lab):
    ours, theirs, bare = lab("ours"), lab("theirs"), lab("bare")
    first, again = hub.name("buzz"), hub.name("again")
    ours.hub.push("buzz", first)
    assert "trained beside 1 other expert." in card(hub, first)
    theirs.pull(first, run=CPU)
    theirs.hub.push("buzz", again)
    text = card(hub, again)
    assert "trained beside" not in text and "and not what it was trained with" in text
    report = bare.pull(again, run=CPU)
    assert any("trained under another head" in line for line in report.remarks)
    bare.store.remove("buzz", purge=True)
    report = bare.pull(first, run=CPU)  # the head that stayed there is that of `theirs`
    assert any("trained under another head" in line for line in report.remarks)
    ours.store.remove("buzz", purge=True)
    assert not any("another head" in line for line in ours.pull(again, run=CPU).remarks)


def test_a_stock_adapter_that_is_pushed_again_was_trained_for_no_head(hub, readout_lab, stock):
    ours, again = readout_lab("ours"), hub.name("again")
    report = ours.pull(stock, name="s2", assume_base=True, run=CPU)
    ours.hub.push("s2", again)
    for found in (report, *(readout_lab(name).pull(again, run=CPU) for name in ("first", "bare"))):
        assert any("was not trained for this head" in line for line in found.remarks)
        assert any("brings no witnesses" in line for line in found.remarks)


def test_of_a_record_of_before_the_head_that_came_with_it_counts(hub, put, lab, good):
    record = yaml.safe_load(good[layout.EXPERT])
    assert record["expert"].pop("head_sha256")
    put(hub.name("old"), {**good, layout.EXPERT: yaml.safe_dump(record).encode()})
    for name, other in (("theirs", True), ("bare", False)):
        registry = lab(name)
        report = registry.pull(hub.made[-1], run=CPU)
        assert any("another head" in line for line in report.remarks) == other
        assert registry.store.expert("buzz").head_sha256 is not None


def card(hub, name):
    return Path(hub.api.hf_hub_download(name, layout.CARD)).read_text()
