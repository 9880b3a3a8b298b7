"""What is pushed can be pulled: bases with any files, names in any script, one generation throughout."""

from __future__ import annotations

import shutil

import pytest
import yaml

from molex_adapt import Registry
from molex_adapt.errors import HubError
from molex_adapt.hub import pack
from molex_adapt.registry import layout
from molex_adapt.registry.store import Store
from tests.hub.forging import EXPERT
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub

IDEOGRAPHIC, NO_BREAK = "\u5408\u6210\u3000\u97f3\u58f0", "clone\u00a0a"


@pytest.fixture
def with_attacks(lab):
    """A lab whose expert buzz says that it learnt certain attacks."""

    def make(*attacks):
        store = lab("ours").store
        path = store.expert_folder("buzz") / EXPERT
        record = yaml.safe_load(path.read_text())
        record["data"]["attacks"] = list(attacks)
        path.write_text(yaml.safe_dump(record))
        return Registry.open(store.path)

    return make


def test_a_base_with_licences_and_odd_names_travels(hub, lab, tiny_folder_of, tiny_recipe, data, tmp_path):
    folder = tmp_path / "licensed"
    shutil.copytree(tiny_folder_of(), folder)
    for name in ("LICENSE", "LICENSE.txt", "config (1).json"):
        (folder / name).write_text("{}")
    ours = Registry.create(tmp_path / "registry", str(folder))
    ours.train(
        data("buzz"), domain="buzz", recipe=tiny_recipe(head={"readout": True}), readout_only=True, run=CPU
    )
    name = hub.name("mixture")
    ours.hub.push(None, name)
    made = Registry.pull_mixture(name, tmp_path / "new", run=CPU)
    assert {"LICENSE", "LICENSE.txt"} <= {path.name for path in made.store.base_folder.iterdir()}
    assert made.store.verify() == []


def test_spaces_of_any_width_in_names_of_attacks_travel(hub, with_attacks, lab):
    ours, name = with_attacks(IDEOGRAPHIC, NO_BREAK, "wide\u2003space"), hub.name("buzz")
    ours.hub.push("buzz", name)
    theirs = lab("theirs")
    theirs.pull(name, run=CPU)
    assert theirs.store.expert("buzz").data.attacks == [IDEOGRAPHIC, NO_BREAK, "wide\u2003space"]


@pytest.mark.parametrize("whole", [True, False])
def test_what_nobody_could_pull_is_not_sent(hub, with_attacks, whole):
    ours, name = with_attacks("turned\u202eround"), hub.name("buzz")
    for options in ({"dry_run": True}, {}):
        with pytest.raises(HubError, match=r"nobody could pull it.*control signs.*Nothing was sent"):
            ours.hub.push(None if whole else "buzz", name, **options)
    assert not hub.api.repo_exists(name)


def test_another_generation_that_is_activated_meanwhile_changes_no_package(lab, monkeypatch):
    store = lab("ours").store
    expected = [pack.pack_expert(store, "buzz", "lab/x", True), pack.pack_mixture(store, "lab/x", True)]
    whole = Store.generation
    for at, make in enumerate(
        (
            lambda: pack.pack_expert(store, "buzz", "lab/x", True),
            lambda: pack.pack_mixture(store, "lab/x", True),
        )
    ):
        store.activate(2)

        def once(self, number=None):
            found = whole(self, number)
            monkeypatch.setattr(Store, "generation", whole)
            store.activate(1)
            return found

        monkeypatch.setattr(Store, "generation", once)
        assert make().files == expected[at].files
    assert layout.HEAD in expected[0].files
