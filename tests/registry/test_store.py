from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from molex_adapt.conventions import CLOSED_GATE
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import BaseRecord, OriginRecord, Store


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


def test_a_new_registry_is_empty_and_readable(empty, base):
    assert empty.base == base
    assert empty.base_folder is None
    assert empty.active is None
    assert empty.experts() == []
    assert empty.recipe() is None
    assert empty.history() == []
    assert empty.verify() == []
    with pytest.raises(RegistryError, match="no active generation.*add-expert"):
        empty.generation()


def test_create_refuses_what_is_there(empty, base, tmp_path):
    with pytest.raises(RegistryError, match="already holds a registry"):
        Store.create(empty.path, base)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RegistryError, match=r"not empty \(it holds thesis.tex\)"):
        Store.create(tmp_path / "mine", base)
    with pytest.raises(RegistryError, match="is a file"):
        Store.create(tmp_path / "mine" / "thesis.tex", base)
    (tmp_path / "free").mkdir()
    assert Store.create(tmp_path / "free", base).verify() == []


def test_open_names_the_remedy(tmp_path):
    with pytest.raises(RegistryError, match="molex-adapt init embedded --registry"):
        Store.open(tmp_path / "nowhere")


def test_everything_reads_back_as_it_was_given(store, make_expert, make_draft):
    again = Store.open(store.path)
    draft = make_draft(None, "world opus")
    same(again.router_tensors(), draft.router)
    same(again.head_tensors(), draft.head)
    same(again.expert_weights("opus"), make_expert("opus").weights)
    same(again.exemplar_tensors("opus"), make_expert("opus").exemplars)
    assert again.recipe() == draft.recipe
    generation = again.active
    assert (generation.number, generation.parent, generation.names) == (1, None, ["world", "opus"])
    assert (generation.calibration.scale, generation.calibration.offset) == (2.0, -0.5)
    assert generation.threshold == 0.25
    assert generation.command == "molex-adapt add-expert"
    record = again.expert("world")
    assert record.metrics["world"] == {"eer": 0.125, "eer_ci": [0.1, 0.15], "min_dcf": None}
    assert record.weights_sha256 == generation.experts[0].sha256
    assert [expert.name for expert in again.experts()] == ["world", "opus"]


def test_figures_given_twice_are_written_twice(store, make_draft):
    figures = {"eer": np.float32(0.5), "eer_ci": np.array([0.25, 0.75])}
    store.add_generation(
        make_draft(
            1, "world", metrics={"world": figures, "opus": figures}, profile={"usage": {"A07": (1, None)}}
        ),
        activate=True,
    )
    plain = {"eer": 0.5, "eer_ci": [0.25, 0.75]}
    assert store.active.metrics == {"world": plain, "opus": plain}
    assert store.active.profile == {"usage": {"A07": [1, None]}}


def test_an_expert_may_keep_nothing(empty, make_expert, make_draft):
    empty.add_generation(make_draft(None, "world", make_expert("world", kept=False)), activate=True)
    assert empty.exemplar_tensors("world") is None
    assert empty.verify() == []


def test_adding_leaves_every_old_file_alone(store, make_expert, make_draft, snapshot):
    before = snapshot(store.path / "experts") | snapshot(store.path / "generations")
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    after = snapshot(store.path / "experts") | snapshot(store.path / "generations")
    assert store.active.names == ["world", "opus", "gsm"]
    assert {name: after[name] for name in before} == before


def test_another_open_store_sees_the_change(store, make_expert, make_draft):
    other = Store.open(store.path)
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    assert other.active.number == 2


def test_a_refused_generation_can_be_looked_at_and_activated(store, make_expert, make_draft):
    assert store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=False) == 2
    assert store.active.number == 1
    assert [generation.number for generation in store.history()] == [1, 2]
    assert store.generation(2).names == ["world", "opus", "gsm"]
    assert store.expert("gsm", 2).name == "gsm"
    assert store.taken_names() == {"world", "opus", "gsm"}
    with pytest.raises(ExpertError, match="no expert 'gsm'; it has world, opus"):
        store.expert_weights("gsm")
    assert store.rollback(2).number == 2
    assert store.active.number == 2
    assert store.rollback().number == 1


def test_rollback_needs_somewhere_to_go(store):
    with pytest.raises(RegistryError, match="generation 1 .* is the first"):
        store.rollback()
    with pytest.raises(RegistryError, match="no generation 9; it has 1"):
        store.rollback(9)


def test_a_damaged_generation_is_not_activated(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=False)
    (store.path / "experts/gsm/adapter_model.safetensors").unlink()
    with pytest.raises(RegistryError, match="generation 2 .* damaged .*adapter_model.safetensors is missing"):
        store.rollback(2)
    assert store.active.number == 1


def test_the_second_of_two_writers_from_one_parent_is_refused(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    with pytest.raises(
        RegistryError, match="generation 2 .* is active, but this work began from generation 1"
    ):
        store.add_generation(make_draft(1, "world opus mp3", make_expert("mp3")), activate=True)
    assert not (store.path / "experts/mp3").exists()


def test_remove_drops_the_router_rows_and_rollback_brings_them_back(store, snapshot):
    rows = store.router_tensors()["blocks.1.rows"]
    before = snapshot(store.path / "experts")
    assert store.remove("world", command="molex-adapt remove world") == 2
    assert store.active.names == ["opus"]
    np.testing.assert_array_equal(store.router_tensors()["blocks.1.rows"], rows[1:])
    assert store.active.calibration == store.generation(1).calibration
    assert "world was removed" in store.active.remarks[0]
    assert snapshot(store.path / "experts") == before
    store.rollback()
    assert store.active.names == ["world", "opus"]
    np.testing.assert_array_equal(store.router_tensors()["blocks.1.rows"], rows)
    assert store.verify() == []


def test_the_last_expert_can_be_removed(store):
    store.remove("world")
    store.remove("opus")
    assert store.active.names == []
    assert store.router_tensors()["blocks.0.rows"].shape == (0, 9)
    assert store.verify() == []


def test_purge_deletes_the_files_and_every_generation_that_names_it(store):
    assert store.remove("world", purge=True) == 2
    assert [generation.number for generation in store.history()] == [2]
    assert sorted(item.name for item in (store.path / "experts").iterdir()) == ["opus"]
    assert sorted(item.name for item in (store.path / "generations").iterdir()) == ["2"]
    assert [record.number for record in store.ancestry()] == [2]  # its parent is gone
    assert store.verify() == []


def test_purge_keeps_what_led_to_other_generations(store, make_expert, make_draft):
    """Over several that went with the expert."""
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    store.add_generation(make_draft(2, "world opus gsm lpc", make_expert("lpc")), activate=True)
    assert store.remove("gsm", purge=True) == 4
    assert [record.number for record in store.ancestry()] == [4, 1]
    assert store.verify() == []
    assert store.rollback().number == 1


def test_purge_after_a_removal_keeps_what_led_to_it(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "world opus lpc", make_expert("lpc")), activate=True)
    assert store.remove("lpc") == 3
    assert store.remove("lpc", purge=True) is None
    assert [record.number for record in store.ancestry()] == [3, 1]
    refused = make_draft(3, "world opus mp3", make_expert("mp3"))
    for _ in range(2):  # the same number twice
        assert store.add_generation(refused, activate=False) == 4
        store.remove("mp3", purge=True)
    assert [(item.number, item.parent) for item in store.record().purged] == [(2, 1), (4, 3)]


def test_purge_takes_along_what_no_other_generation_names(store):
    store.remove("opus")
    assert store.remove("world", purge=True) == 3
    assert [generation.number for generation in store.history()] == [3]
    assert list((store.path / "experts").iterdir()) == []
    assert store.verify() == []


def test_the_ancestry_leaves_out_what_was_rolled_back(store, make_expert, make_draft):
    for number, name in enumerate(("gsm", "lpc", "mp3"), start=2):
        store.add_generation(make_draft(1, f"world opus {name}", make_expert(name)), activate=True)
        if number < 4:
            store.rollback(1)
    store.add_generation(make_draft(4, "world opus mp3 amr", make_expert("amr")), activate=True)
    assert [record.number for record in store.ancestry()] == [5, 4, 1]
    assert [record.number for record in store.ancestry(3)] == [3, 1]


def test_purge_of_a_refused_expert_frees_its_name(store, make_expert, make_draft):
    again = make_draft(1, "world opus gsm", make_expert("gsm"))
    store.add_generation(again, activate=False)
    with pytest.raises(RegistryError, match="'gsm' is already in registry .*remove gsm --purge"):
        store.add_generation(again, activate=True)
    assert store.remove("gsm", purge=True) is None
    assert store.active.number == 1
    assert store.add_generation(again, activate=True) == 2


def test_remove_of_an_unknown_expert_changes_nothing(store, snapshot):
    before = snapshot(store.path)
    for purge in (False, True):
        with pytest.raises(ExpertError, match="no expert 'nobody'"):
            store.remove("nobody", purge=purge)
    assert snapshot(store.path) == before


def test_an_expert_of_another_base_names_both(store, make_expert, make_draft):
    other = BaseRecord(id="someone/else", revision="1234567", sha256="12" * 32, embedded=False)
    with pytest.raises(ExpertError) as caught:
        store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm", base=other)), activate=True)
    for part in (
        "'gsm'",
        "someone/else@1234567 (sha256 12121212…)",
        "someone/speech@c1423ed (sha256 abababab…)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "../up", "/etc", "A07", "a/b", "x" * 65, ".hidden", "a\n", "a\0b", "-x"]
)
def test_names_are_safe_as_file_names(name, make_expert):
    with pytest.raises(ValueError, match="is not a name"):
        make_expert(name)


@pytest.mark.parametrize("experts", ["world world", "world", "world opus lost"])
def test_expert_lists_that_do_not_add_up(store, make_expert, make_draft, experts):
    with pytest.raises((RegistryError, ExpertError), match="world|lost|gsm"):
        store.add_generation(make_draft(1, experts, make_expert("gsm")), activate=True)
    assert [generation.number for generation in store.history()] == [1]


def test_tensors_that_do_not_fit_are_refused_before_anything_is_written(
    store, make_expert, make_draft, snapshot
):
    before = snapshot(store.path)

    def refused(message, error, **changes):
        with pytest.raises(error, match=message):
            store.add_generation(make_draft(1, "world opus", **changes), activate=True)

    router = make_draft(1, "world opus").router
    refused("2 experts.*need", RegistryError, router=router | {"blocks.0.rows": np.zeros((3, 9), np.float32)})
    refused("missing: blocks", RegistryError, router={"blocks.0.rows": router["blocks.0.rows"]})
    refused("float32 is expected", RegistryError, router=router | {"blocks.0.centre": np.zeros(8)})
    refused(
        "2 of 4 values of w are NaN", RegistryError, head={"w": np.array([0, np.nan, np.inf, 1], np.float32)}
    )
    refused("head has no tensors", RegistryError, head={})
    refused("not plain YAML", RegistryError, recipe="a: [")

    def refused_expert(message, change, part="weights"):
        expert = make_expert("gsm")
        change(getattr(expert, part))
        with pytest.raises(ExpertError, match=message):
            store.add_generation(make_draft(1, "world opus gsm", expert), activate=True)

    key = next(iter(make_expert("gsm").weights))
    refused_expert("missing: base_model", lambda weights: weights.pop(key))
    refused_expert("unexpected: more", lambda weights: weights.update(more=np.zeros(2)))
    refused_expert(
        "rank 3; .* says rank 2", lambda weights: weights.update({key: np.zeros((3, 8), np.float16)})
    )
    refused_expert("NaN or infinite", lambda weights: weights[key].fill(np.nan))
    refused_expert("holds float64", lambda weights: weights.update({key: np.zeros((2, 8))}))
    refused_expert("sum to 9", lambda kept: kept.update({"replay.lengths": np.array([5, 4])}), "exemplars")
    refused_expert("replay.bona_fide", lambda kept: kept.pop("replay.bona_fide"), "exemplars")
    assert snapshot(store.path) == before


def test_the_files_are_what_the_design_says(store):
    found = {str(path.relative_to(store.path)) for path in store.path.rglob("*") if path.is_file()}
    expert = (
        "adapter_config.json",
        "adapter_model.safetensors",
        "expert.yaml",
        "exemplars.safetensors",
        "README.md",
    )
    generation = ("generation.yaml", "experts.json", "recipe.yaml", "router.safetensors", "head.safetensors")
    assert found - {".lock"} == (
        {"registry.yaml"}
        | {f"experts/{name}/{file}" for name in ("world", "opus") for file in expert}
        | {f"generations/1/{file}" for file in generation}
    )
    text = (store.path / "registry.yaml").read_text()
    assert text.startswith("format: 1\nbase:\n  id: someone/speech\n")
    assert yaml.safe_load(text)["active"] == 1


def test_a_read_only_registry_can_be_read_but_says_so_when_written(
    store, make_expert, make_draft, monkeypatch
):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert store.verify() == []
    assert len(store.experts()) == 2
    with pytest.raises(RegistryError, match="cannot be locked for writing: Permission denied.*Copy it"):
        store.remove("world")


def test_an_embedded_base_is_copied_and_compared(tiny_base_folder, tmp_path):
    from molex_adapt.registry.identity import weights_digest

    digest = weights_digest(tiny_base_folder)
    record = BaseRecord(id="tiny", revision="local", sha256=digest, embedded=True)
    store = Store.create(tmp_path / "registry", record, tiny_base_folder)
    assert sorted(item.name for item in store.base_folder.iterdir()) == ["config.json", "model.safetensors"]
    assert store.verify() == []
    wrong = record.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(RegistryError, match=rf"sha256 {digest[:12]}…, but .* 000000000000…"):
        Store.create(tmp_path / "other", wrong, tiny_base_folder)
    with pytest.raises(RegistryError, match="cannot be embedded"):
        Store.create(tmp_path / "third", record, tmp_path / "nowhere")
    Store.create(tmp_path / "other", record, tiny_base_folder)
    assert isinstance(store.base_folder, Path)


def test_remove_takes_back_what_the_calibration_was_raised_for_an_expert(store, make_expert, make_draft):
    known, offset = "world opus", -0.5
    for name, rise in (("gsm", 0.25), ("mp3", 0.5)):
        known, offset = f"{known} {name}", offset + rise
        draft = make_draft(store.active.number, known, make_expert(name), calibration=(2.0, offset))
        store.add_generation(draft, activate=True)
    store.remove("gsm")
    assert (store.active.calibration.scale, store.active.calibration.offset) == (2.0, 0.0)
    store.remove("mp3")
    assert store.active.calibration == store.generation(1).calibration
    store.remove("opus")  # what came first brought the calibration
    assert store.active.calibration == store.generation(1).calibration


def test_remove_knows_an_expert_that_came_a_second_time(store, make_expert, make_draft):
    for offset in (0.5, 1.5):
        store.add_generation(
            make_draft(1, "world opus gsm", make_expert("gsm"), calibration=(2.0, offset)), activate=True
        )
        number = store.remove("gsm")
        assert store.generation(number).calibration == store.generation(1).calibration
        store.activate(1)
        store.remove("gsm", purge=True)


def test_remove_keeps_a_calibration_that_was_fitted_anew(store, make_expert, make_draft):
    draft = make_draft(1, "world opus gsm", make_expert("gsm"), calibration=(3.0, 1.0))
    store.add_generation(draft, activate=True)
    store.remove("gsm")
    assert store.active.calibration == store.generation(2).calibration


@pytest.fixture
def risen(store, make_expert, make_draft):
    """`gsm` raised the calibration by 0.25 when it came, `mp3` by 0.5."""
    known, offset = "world opus", -0.5
    for name, rise in (("gsm", 0.25), ("mp3", 0.5)):
        known, offset = f"{known} {name}", offset + rise
        draft = make_draft(store.active.number, known, make_expert(name), calibration=(2.0, offset))
        store.add_generation(draft, activate=True)
    return store


@pytest.mark.parametrize(("first", "second", "between"), [("mp3", "gsm", -0.25), ("gsm", "mp3", 0.0)])
def test_after_a_purge_a_removal_still_lowers_the_calibration(risen, first, second, between):
    risen.remove(first, purge=True)
    assert risen.active.calibration.offset == between
    risen.remove(second)
    assert risen.active.calibration == risen.generation(1).calibration
    assert not any("calibration stays" in line for line in risen.active.remarks)


def test_a_generation_of_before_says_what_its_ancestors_say(risen):
    for number in (1, 2, 3):
        path = risen.path / "generations" / str(number) / "generation.yaml"
        record = yaml.safe_load(path.read_text())
        assert set(record.pop("raised")) == set(risen.generation(number).names)
        path.write_text(yaml.safe_dump(record))
    again = Store.open(risen.path)
    assert again.active.raised is None
    again.remove("gsm")
    assert again.active.calibration.offset == 0.0
    assert again.active.raised == {"world": 0.0, "opus": 0.0, "mp3": 0.5}
    again.remove("mp3")
    assert again.active.calibration == again.generation(1).calibration
    assert not any("calibration stays" in line for line in again.active.remarks)


def test_where_nobody_knows_what_the_calibration_was_raised_by_that_is_said(risen):
    path = risen.path / "generations" / "3" / "generation.yaml"
    record = yaml.safe_load(path.read_text())
    del record["raised"]
    path.write_text(yaml.safe_dump(record | {"parent": 2}))
    listing = risen.path / "registry.yaml"
    kept = yaml.safe_load(listing.read_text())
    listing.write_text(yaml.safe_dump(kept | {"generations": [1, 3]}))
    with pytest.raises(RegistryError, match="was made from generation 2, which was purged. Name one"):
        risen.rollback()
    risen.remove("mp3")
    assert any("the calibration stays as it was" in line for line in risen.active.remarks)
    assert risen.active.calibration.offset == risen.generation(3).calibration.offset


def test_a_generation_says_which_experts_are_withdrawn_and_which_were_pulled(store, make_draft, make_expert):
    assert (store.active.withdrawn, store.active.pulled) == ([], [])
    origin = OriginRecord(repository="lab/gsm", commit="12" * 20)
    new = make_expert("gsm")
    draft = make_draft(
        1, "world opus gsm", replace(new, record=new.record.model_copy(update={"origin": origin}))
    )
    for block in (0, 1):
        draft.router[f"blocks.{block}.rows"][1, -1] = -CLOSED_GATE * 8
    store.add_generation(draft, activate=True)
    assert (store.active.withdrawn, store.active.pulled) == (["opus"], ["gsm"])
    path = store.path / "generations" / "2" / "generation.yaml"
    record = yaml.safe_load(path.read_text())
    del record["withdrawn"], record["pulled"]
    path.write_text(yaml.safe_dump(record))
    assert Store.open(store.path).active.withdrawn is None
    assert Store.open(store.path).withdrawn() == ["opus"]


def test_what_came_with_a_whole_mixture_stays_pulled(empty, make_draft, make_expert):
    origin = OriginRecord(repository="lab/mixture", commit="12" * 20)
    empty.add_generation(make_draft(None, "world", make_expert("world"), origin=origin), activate=True)
    empty.add_generation(make_draft(1, "world opus", make_expert("opus")), activate=True)
    assert empty.active.pulled == ["world"]
