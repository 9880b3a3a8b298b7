from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import yaml

from molex_adapt.errors import RegistryError


def test_a_whole_registry_has_no_problems(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=False)
    assert store.verify() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("r", 16), ("lora_alpha", 1), ("target_modules", ["k_proj"]), ("peft_type", "ADALORA")],
)
def test_an_adapter_that_peft_would_load_differently(store, key, value):
    path = store.path / "experts/world/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    (problem,) = store.verify()
    assert f"{path} says {key} = {value}; expert.yaml says" in problem


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_broken_adapter_config(store, text):
    path = store.path / "experts/world/adapter_config.json"
    path.write_text(text)
    (problem,) = store.verify()
    assert str(path) in problem


@pytest.mark.parametrize("stated", [True, False])
def test_a_recipe_and_a_head_that_disagree_on_the_readout(store, make_expert, make_draft, stated):
    head = {"classify.weight": np.zeros((1, 4), np.float32)}
    head |= {} if stated else {"readout.share": np.ones(1, np.float32)}
    draft = make_draft(
        1,
        "world opus gsm",
        make_expert("gsm"),
        head=head,
        recipe=f"head: {{readout: {str(stated).lower()}}}\n",
    )
    store.add_generation(draft, activate=False)
    (problem,) = store.verify()
    assert "there is a readout" in problem if stated else "there is no readout" in problem
    with pytest.raises(RegistryError, match="was not activated"):
        store.rollback(2)


def test_every_damage_is_listed_at_once(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=True)
    (store.path / "experts/gsm/exemplars.safetensors").unlink()
    (store.path / "generations/2/head.safetensors").write_bytes(b"")
    (store.path / "generations/1/recipe.yaml").write_text("lora: {}")
    (store.path / "experts/stray").mkdir()
    problems = store.verify()
    assert len(problems) == 4
    for part in (
        "gsm/exemplars.safetensors is missing",
        "2/head.safetensors has",
        "1/recipe.yaml has",
        "stray was",
    ):
        assert any(part in problem for problem in problems)
    assert all(". " in problem for problem in problems), "each says what to do"


def test_repair_deletes_leftovers_only(store):
    (store.path / "experts/stray").mkdir()
    (store.path / "generations/7").mkdir()
    (store.path / "generations/1/head.safetensors").unlink()
    assert len(store.verify()) == 3
    (problem,) = store.verify(repair=True)
    assert "head.safetensors is missing" in problem


def test_repair_keeps_a_whole_generation_that_an_older_registry_yaml_does_not_name(
    store, make_expert, make_draft
):
    index = store.path / "registry.yaml"
    older = index.read_text()
    store.add_generation(make_draft(1, "world opus gsm", make_expert("gsm")), activate=False)
    newer = index.read_text()
    index.write_text(older)
    problems = store.verify()
    assert len(problems) == 2, "its folder and that of its expert"
    assert all(
        "registry.yaml is an older copy. In that case add 2 to its `generations`" in one for one in problems
    )
    (store.path / "experts/stray").mkdir()
    assert len(store.verify()) == 3 and store.verify(repair=True) == problems
    index.write_text(newer)
    assert store.verify() == []
    index.write_text(older)
    (store.path / "generations/2/head.safetensors").unlink()
    problems = store.verify()
    assert len(problems) == 2 and all("was left by an interrupted write" in one for one in problems)
    assert store.verify(repair=True) == []


def test_a_changed_embedded_base_is_found(tiny_base_folder, tmp_path):
    from molex_adapt.registry import BaseRecord, Store, files
    from molex_adapt.registry.identity import weights_digest

    record = BaseRecord(id="tiny", revision="local", sha256=weights_digest(tiny_base_folder), embedded=True)
    store = Store.create(tmp_path / "registry", record, tiny_base_folder)
    path = store.base_folder / "model.safetensors"
    weights = files.read_tensors(path, store.path)
    name = sorted(weights)[0]
    path.write_bytes(files.dump_tensors(weights | {name: weights[name] + 1}))
    (problem,) = store.verify()
    assert record.sha256[:12] in problem
    path.unlink()
    assert "has no weights" in store.verify()[0]
    (store.base_folder / "config.json").unlink()
    assert "config.json is missing" in store.verify()[0]


def test_yaml_is_for_people(store):
    text = (store.path / "experts/world/expert.yaml").read_text()
    assert text.startswith("name: world\ndomain: world\nrank: 2\n")
    assert "&" not in text
    assert yaml.safe_load(text)["recipe"] == "lora:\n  rank: 2\n"


def test_a_listing_that_contradicts_the_experts_is_found(store):
    folder = store.path / "generations/1"
    listing = (folder / "experts.json").read_bytes()
    changed = listing.replace(b'"rank":2', b'"rank":3')
    assert changed != listing
    (folder / "experts.json").write_bytes(changed)
    record = (folder / "generation.yaml").read_text()
    digest = hashlib.sha256(listing).hexdigest()
    assert digest in record
    (folder / "generation.yaml").write_text(record.replace(digest, hashlib.sha256(changed).hexdigest()))
    [problem] = store.verify()
    assert "experts.json does not say what the experts' own records say" in problem


def test_a_listing_says_what_the_records_say(store):
    listed = store.summaries(store.generation())
    assert [(item.name, item.domain, item.rank, item.created) for item in listed] == [
        (item.name, item.domain, item.rank, item.created) for item in store.experts()
    ]


def test_what_stands_where_no_registry_is_decides_the_remedy(tmp_path):
    from molex_adapt.registry import Store

    (tmp_path / "index lost" / "generations").mkdir(parents=True)
    with pytest.raises(RegistryError, match="has generations and no registry.yaml.*Restore it from a copy"):
        Store.open(tmp_path / "index lost")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "detector.json").write_text("{}")
    with pytest.raises(RegistryError, match="is an export, which molex-adapt score takes alone"):
        Store.open(tmp_path / "export")
    with pytest.raises(RegistryError, match="holds no registry.*molex-adapt init embedded"):
        Store.open(tmp_path / "nothing")
