"""What a push tells others: no more than it must, and whoever pushes hears of it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from molex_adapt import Registry, Run
from molex_adapt.hub.pack import pack_expert
from molex_adapt.registry import files, layout
from molex_adapt.witnesses import names_of
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


def content_of(hub, name):
    return {path: Path(hub.api.hf_hub_download(name, path)).read_bytes() for path in hub.files(name)}


def head_of(package):
    return files.parse_tensors(package[layout.HEAD], Path(layout.HEAD))


def test_one_expert_takes_nothing_of_others_along(good_readout, readout_lab):
    head, whole = head_of(good_readout), readout_lab("ours").store.head_tensors()
    assert names_of(whole["readout.names"]) == ("buzz/buzz", "hum/hum")
    assert names_of(head["readout.names"]) == ("hum/hum",)
    assert (head["readout.domains"][0], whole["readout.domains"][0]) == (1, 2)
    assert not any(b"buzz" in body for body in good_readout.values())


def test_where_no_part_of_real_speech_is_the_experts_own_that_is_said(tmp_path):
    from molex_adapt.registry import Store
    from molex_adapt.shipped import registry_path

    store = Store.copy(registry_path(), tmp_path / "registry")
    report = Registry(store).hub.push("world", "lab/world", dry_run=True)
    assert any("those of other experts' domains with them" in line for line in report.remarks)
    card = pack_expert(store, "world", "lab/world", False).files[layout.CARD].decode()
    assert "Second moments of what the readout read of real speech" in card
    whole = Registry(store).hub.push(None, "lab/all", exemplars=False, dry_run=True)
    for told in (report, whole):
        assert any("second moments of what the readout read" in line for line in told.remarks)


@pytest.mark.parametrize("exemplars", [True, False])
def test_remark_and_card_say_what_travels(hub, readout_lab, exemplars):
    ours, name = readout_lab("ours"), hub.name("hum")
    report = ours.hub.push("hum", name, exemplars=exemplars)
    card = content_of(hub, name)[layout.CARD].decode()
    said = any("fingerprints of" in line for line in report.remarks)
    assert said == ("whoever has one of them can tell that it was heard" in card) == exemplars
    assert any("with --no-exemplars too" in line for line in report.remarks)
    assert not any("of other experts' domains" in line for line in report.remarks)
    assert "Second moments of what the readout read of real speech" in card
    assert "nothing of anybody's speech" not in card


class Telling:
    """Hears remarks, and what the hub was asked until then."""

    def __init__(self, loopback):
        self.loopback, self.notes = loopback, {}

    def start(self, label, total): ...

    def advance(self, steps=1): ...

    def note(self, text):
        self.notes[text] = [asked.path for asked in self.loopback.asked if asked.method in ("POST", "PUT")]

    def stop(self): ...


@pytest.mark.parametrize("whole", [True, False])
def test_remarks_come_before_anything_leaves(loopback, hub, lab, whole):
    ours, name, heard = lab("ours"), hub.name("buzz"), Telling(loopback)
    what = None if whole else "buzz"
    report = ours.hub.push(what, name, run=Run(progress=heard))
    assert list(heard.notes) == report.remarks != []
    assert not any(
        "commit" in path or "preupload" in path for paths in heard.notes.values() for path in paths
    )
    assert not any("history" in line for line in report.remarks)
    again = ours.hub.push(what, name, exemplars=False)
    assert any("history" in line and "keeps the exemplars" in line for line in again.remarks)


def test_where_an_expert_was_pulled_from_is_not_told(hub, lab):
    ours, bare = lab("ours"), lab("bare")
    secret, public, whole = (hub.name(stem) for stem in ("secret-client", "public", "whole"))
    ours.hub.push("buzz", secret, private=True)
    bare.pull(secret, run=CPU)
    for report in (bare.hub.push("buzz", public), bare.hub.push(None, whole)):
        assert any(f"was pulled from {secret}@" in line for line in report.remarks)
    for name in (public, whole):
        assert not any(b"secret-client" in body for body in content_of(hub, name).values())
    again = bare.hub.push("buzz", secret)
    assert not any("was pulled from" in line for line in again.remarks)
    assert b"secret-client" in content_of(hub, secret)["expert.yaml"]


def test_where_a_mixture_was_pulled_from_is_not_told(hub, lab, tmp_path):
    ours, secret, public = lab("ours"), hub.name("secret-client"), hub.name("public")
    ours.hub.push(None, secret, private=True)
    made = Registry.pull_mixture(secret, tmp_path / "new", run=CPU)
    made.hub.push(None, public)
    assert not any(b"secret-client" in body for body in content_of(hub, public).values())
