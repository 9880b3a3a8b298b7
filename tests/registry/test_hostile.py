from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest
import yaml

from molex_adapt.digest import sha256
from molex_adapt.errors import ExpertError, MolexError, RegistryError
from molex_adapt.registry import Store, checks, files
from molex_adapt.registry.checks import check_base
from molex_adapt.registry.draft import generation_files
from molex_adapt.registry.records import ExpertEntry

GOOD = """
format: 1
base: {id: someone/speech, revision: c1423ed0, sha256: %s, embedded: false}
active: null
generations: []
created: '2026-01-01T00:00:00+00:00'
""" % ("ab" * 32)


def changed(text: str, **values: object) -> str:
    return yaml.safe_dump(yaml.safe_load(text) | values)


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nformat: 1\n"

REGISTRY_FILES = {
    "empty": ("", "a mapping of keys is expected"),
    "list": ("[1, 2]", "a mapping of keys is expected"),
    "broken": ("format: [1", "not plain YAML"),
    "not text": (b"\xff\xfe\x00", "not plain YAML"),
    "control": ("format: \0", "not plain YAML"),
    "python tag": ("!!python/object/apply:os.system ['touch owned']", "not plain YAML"),
    "laughs": (LAUGHS, "refers to an anchor"),
    "itself": ("format: 1\nbase: &a [*a]\n", "refers to an anchor"),
    "deep": ("format: " + "[" * 200_000, "deeper than 60"),
    "deep block": ("- " * 200_000, "deeper than 60"),
    "huge number": ("format: 1\nactive: " + "9" * 5_000, "not plain YAML"),
    "bad date": ("format: 1\ncreated: 2026-99-99\n", "not plain YAML"),
    "huge file": ("format: 1\n#" + "x" * 17 * 2**20, "at most 16777216 are believable"),
    "list as key": ("? [a]\n: 1\nformat: 1\n", "not plain YAML"),
    "no format": ("active: 1", "has format None; this version of molex-adapt reads format 1"),
    "old format": (changed(GOOD, format=0), "has format 0; .* reads format 1"),
    "new format": (changed(GOOD, format=2), "has format 2; .* reads format 1"),
    "format text": (changed(GOOD, format="1"), "has format '1'; .* reads format 1"),
    "unknown key": (changed(GOOD, owner="me"), "owner = me: Extra inputs"),
    "base text": (changed(GOOD, base="wavlm"), "base = wavlm"),
    "base hash": (
        changed(GOOD, base=yaml.safe_load(GOOD)["base"] | {"sha256": "AB" * 32}),
        "is not a sha256",
    ),
    "active text": (changed(GOOD, active="1"), "active = 1"),
    "active true": (changed(GOOD, active=True, generations=[1]), "active = True"),
    "active lost": (changed(GOOD, active=7, generations=[1]), "active generation 7 is not among"),
    "count": (changed(GOOD, generations=4_000_000_000), "generations = 4000000000"),
    "billions": (changed(GOOD, generations=[10**12]), "generations.0 = 1000000000000"),
    "negative": (changed(GOOD, generations=[-1]), "generations.0 = -1"),
    "path": (changed(GOOD, generations=["../../etc"]), "generations.0"),
    "twice": (changed(GOOD, generations=[1, 1]), "rising order"),
    "key twice": (GOOD + "active: 1\n", "'active' is given twice, again in line 7"),
    "key twice below": (GOOD.replace("id: someone", "id: other/x, id: someone"), "'id' is given twice"),
    "hexadecimal": (f"format: 0x{'f' * 5000}\n", "has format a number too long to show"),
    "key that is none": ("format: 1\n? [a]\n: 1\n", "not plain YAML"),
    "many": (GOOD.replace("[]", str(list(range(1, 100_002)))), "at most 100000 items"),
}


@pytest.mark.parametrize("kind", REGISTRY_FILES)
def test_a_hostile_registry_file_is_an_error_that_names_it(empty, kind):
    content, message = REGISTRY_FILES[kind]
    path = empty.path / "registry.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    with pytest.raises(RegistryError, match=message) as caught:
        Store.open(empty.path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2_000
    assert time.monotonic() - start < 10


def test_the_untouched_file_is_accepted(empty):
    (empty.path / "registry.yaml").write_text(GOOD)
    assert Store.open(empty.path).verify() == []


@pytest.mark.parametrize("name", ["../../other/experts/world", "/etc", "..", "", "a/b", "world\n", "WORLD"])
def test_expert_names_in_a_generation_stay_inside(store, name):
    path = store.path / "generations/1/generation.yaml"
    content = yaml.safe_load(path.read_text())
    content["experts"][0]["name"] = name
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RegistryError, match="is not a name") as caught:
        store.experts()
    assert str(path) in str(caught.value)
    assert store.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 2}, "describes generation 2, not 1"),
        ({"parent": 1}, "must be older than generation 1"),
        ({"calibration": {"scale": -1.0, "offset": 0.0}}, "calibration.scale = -1.0"),
        ({"calibration": {"scale": float("nan"), "offset": 0.0}}, "calibration.scale = nan"),
        ({"threshold": float("inf")}, "threshold = inf"),
        ({"experts": [{"name": "world", "sha256": digit * 64} for digit in "ab"]}, "listed twice"),
        ({"files": {}}, "records no hash of router.safetensors"),
    ],
)
def test_a_wrong_generation_record_is_found(store, change, message):
    path = store.path / "generations/1/generation.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(RegistryError, match=message) as caught:
        store.router_tensors()
    assert str(path) in str(caught.value)
    assert store.verify()


PLACES = {
    "registry.yaml": lambda store: store.record(),
    "experts": lambda store: store.experts(),
    "experts/world": lambda store: store.expert("world"),
    "experts/world/expert.yaml": lambda store: store.expert("world"),
    "experts/world/adapter_model.safetensors": lambda store: store.expert_weights("world"),
    "experts/world/exemplars.safetensors": lambda store: store.exemplar_tensors("world"),
    "generations/1": lambda store: store.active,
    "generations/1/generation.yaml": lambda store: store.active,
    "generations/1/recipe.yaml": lambda store: store.recipe(),
    "generations/1/router.safetensors": lambda store: store.router_tensors(),
    "generations/1/head.safetensors": lambda store: store.head_tensors(),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fate", ["link", "missing", "folder", "empty"])
def test_links_and_missing_things_are_named(store, place, fate):
    path = store.path / place
    aside = store.path.with_name("aside")
    was_folder = path.is_dir()
    path.rename(aside)
    if fate == "link":
        path.symlink_to(aside)
    elif (fate == "folder") != was_folder:
        path.mkdir()
    elif fate != "missing":
        path.touch()
    with pytest.raises(MolexError) as caught:
        PLACES[place](store)
    assert str(path) in str(caught.value)
    if place != "registry.yaml":
        assert any(str(path) in problem for problem in store.verify())
        if fate == "link" and place == "experts":
            with pytest.raises(RegistryError, match="writes only inside itself"):
                store.remove("world")


def header(content: object) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


VIEW = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
TENSORS = {
    "empty": (b"", "is not a safetensors file"),
    "pickle": (b"\x80\x02}q\x00.", "is not a safetensors file"),
    "huge header": (struct.pack("<Q", 2**63) + b"{}", "claims a header of 9223372036854775808"),
    "long header": (struct.pack("<Q", 2**40) + b"{}" * 100, "claims a header of"),
    "garbage": (header(b"\xfe" * 40), "broken safetensors header"),
    "deep": (header(b"[" * 100_000), "broken safetensors header"),
    "list": (header([]), "not a whole safetensors file"),
    "twice": (header(b'{"w":%s,"w":%s}' % (VIEW, VIEW)) + bytes(4), "'w' is given twice"),
    "short": (header(b'{"w":%s}' % VIEW) + bytes(3), "not a whole safetensors file"),
    "rest": (header(b'{"w":%s}' % VIEW) + bytes(5), "not a whole safetensors file"),
    "overflow": (
        header({"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}) + bytes(4),
        "not a whole safetensors file",
    ),
    "type": (
        header({"w": {"dtype": "I16", "shape": [2], "data_offsets": [0, 4]}}) + bytes(4),
        "number type I16",
    ),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_hostile_safetensors(tmp_path, kind):
    content, message = TENSORS[kind]
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=message) as caught:
        files.read_tensors(path, tmp_path)
    assert str(path) in str(caught.value)


def test_safetensors_read_what_others_write(tmp_path):
    import torch
    from safetensors.torch import save_file

    weights = {"a": torch.randn(3, 2).bfloat16(), "b": torch.randn(4).half(), "c": torch.arange(3)}
    save_file(weights, tmp_path / "w.safetensors", metadata={"format": "pt"})
    found = files.read_tensors(tmp_path / "w.safetensors", tmp_path)
    for name, weight in weights.items():
        np.testing.assert_array_equal(found[name], weight.float().numpy() if name == "a" else weight.numpy())


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "exemplars.safetensors"])
def test_one_changed_byte_is_found(store, file):
    path = store.path / "experts/world" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=r"has sha256 \w{12}…, but \w{12}… was recorded") as caught:
        store.expert_weights("world"), store.exemplar_tensors("world")
    assert str(path) in str(caught.value)
    assert store.expert_weights("opus")
    assert store.verify() == [str(caught.value)]


def forge(store, changes, rank=2):
    """Weights and all their hashes replaced: only what they hold can tell."""
    folder = store.path / "experts/world"
    content = files.dump_tensors(store.expert_weights("world") | changes)
    digest = sha256(content)
    (folder / "adapter_model.safetensors").write_bytes(content)
    record = store.expert("world").model_copy(update={"weights_sha256": digest, "rank": rank})
    (folder / "expert.yaml").write_bytes(files.dump_record(record))
    generation = store.active
    entries = [ExpertEntry(name="world", sha256=digest), generation.experts[1]]
    path = store.path / "generations/1/generation.yaml"
    path.write_bytes(files.dump_record(generation.model_copy(update={"experts": entries})))


@pytest.mark.parametrize(
    ("value", "rank", "message"),
    [(np.nan, 2, "1 of 16 values of .* are NaN or infinite"), (1.0, 3, "thus rank 2; .* says rank 3")],
)
def test_weights_are_judged_by_what_they_hold(store, value, rank, message):
    name, weight = next(iter(sorted(store.expert_weights("world").items())))
    weight = weight.copy()
    weight[0, 0] = value
    forge(store, {name: weight}, rank)
    with pytest.raises(ExpertError, match=message) as caught:
        store.expert_weights("world")
    assert "adapter_model.safetensors" in str(caught.value)
    assert any("adapter_model.safetensors" in problem for problem in store.verify())


@pytest.mark.parametrize(
    ("file", "name", "place", "value", "message"),
    [
        ("router", "blocks.1.rows", (0, 0), np.nan, "1 of 18 values of blocks.1.rows are NaN"),
        ("router", "blocks.0.centre", 3, -np.inf, "1 of 8 values of blocks.0.centre are NaN"),
        ("router", "blocks.0.spread", 3, 0.0, "spread has values of 0 or less"),
        ("router", "blocks.0.spread", 3, -1.0, "spread has values of 0 or less"),
        ("head", "classify.weight", (0, 1), np.inf, "1 of 4 values of classify.weight are NaN"),
    ],
)
def test_router_and_head_are_judged_by_what_they_hold(store, file, name, place, value, message):
    path = store.path / f"generations/1/{file}.safetensors"
    tensors = {key: array.copy() for key, array in files.read_tensors(path, store.path).items()}
    tensors[name][place] = value
    content = files.dump_tensors(tensors)
    record = store.path / "generations/1/generation.yaml"
    digests = [sha256(item) for item in (path.read_bytes(), content)]
    record.write_text(record.read_text().replace(*digests))
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=message):
        store.router_tensors() if file == "router" else store.head_tensors()
    assert any(path.name in problem for problem in store.verify())


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("replay.lengths", np.array([8, -1], np.int32), "go from -1 to 8"),
        ("replay.lengths", np.array([2**63 - 1, -(2**63) + 8]), "go from"),
        ("replay.lengths", np.array([np.nan, 7.0], np.float32), "do not fit together"),
        ("replay.bona_fide", np.ones((2, 3), np.uint8), "do not fit together"),
        ("replay.bona_fide", np.array(1, np.uint8), "do not fit together"),
        ("replay.sources", np.ones((2, 7), np.uint8), "do not fit together"),
        ("replay.attacks", np.array([0.5, 1.5], np.float32), "do not fit together"),
        ("replay.frames", np.full((7, 4), np.nan, np.float16), "are NaN or infinite"),
        ("replay.frames", np.full((7, 4), 1e30, np.float32), "beyond 65504"),
        ("other.frames", np.ones((7, 4), np.float16), "'other' is no part of exemplars"),
    ],
)
def test_exemplars_are_judged_by_what_they_hold(make_expert, name, array, message):
    exemplars = make_expert("world").exemplars
    checks.check_exemplars(exemplars, "e")
    checks.check_exemplars(exemplars | {"reads.mean": np.ones((2, 1, 8), np.float16)}, "e")  # kept once
    with pytest.raises(ExpertError, match=message):
        checks.check_exemplars(exemplars | {name: array}, "e")


@pytest.mark.parametrize("value", [1e400, -1, 2**60, "many", [1], None])
def test_counts_are_counts(store, value):
    path = store.path / "experts/world/expert.yaml"
    content = yaml.safe_load(path.read_text())
    content["data"]["counts"]["train"]["spoof"] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RegistryError, match="data.counts.train.spoof"):
        store.expert("world")


def test_figures_are_figures(store):
    path = store.path / "experts/world/expert.yaml"
    content = yaml.safe_load(path.read_text())
    content["metrics"] = {"world": {"eer": float("nan"), "day": yaml.safe_load("2026-01-01")}}
    path.write_text(yaml.safe_dump(content))
    assert store.expert("world").metrics == {"world": {"eer": None, "day": "2026-01-01"}}
    nested = {"x": 1}
    for _ in range(20):
        nested = {"x": nested}
    for wrong in ({"world": {"eer": 16**4500}}, nested):
        content["metrics"] = wrong
        path.write_text(yaml.safe_dump(content) if wrong is nested else path.read_text())
        if wrong is not nested:
            text = yaml.safe_dump(content | {"metrics": {}}).replace(
                "metrics: {}", "metrics: {eer: 0x%s}" % ("f" * 4500)
            )
            path.write_text(text)
        with pytest.raises(RegistryError, match="metrics = "):
            store.expert("world")


def test_repeated_keys_of_an_adapter_are_found(store):
    path = store.path / "experts/world/adapter_config.json"
    path.write_text(path.read_text().replace('"r": 2,', '"r": 64,\n  "r": 2,'))
    (problem,) = store.verify()
    assert "'r' is given twice" in problem


def test_a_recipe_that_is_no_text_is_found(store):
    path = store.path / "generations/1/recipe.yaml"
    record = store.path / "generations/1/generation.yaml"
    digests = [sha256(item) for item in (path.read_bytes(), b"\xed\xa0\x80")]
    record.write_text(record.read_text().replace(*digests))
    path.write_bytes(b"\xed\xa0\x80")
    with pytest.raises(RegistryError, match=r"recipe.yaml is not plain YAML"):
        store.recipe()


def test_what_has_no_business_in_a_registry_is_cleared(store, tmp_path):
    import os

    (tmp_path / "outside").mkdir()
    os.mkfifo(store.path / "experts" / "pipe")
    (store.path / "experts" / "link").symlink_to(tmp_path / "outside")
    (store.path / "generations" / "broken").symlink_to(tmp_path / "nothing")
    (store.path / "generations" / "file").touch()
    assert len(store.verify()) == 4
    assert store.verify(repair=True) == []
    assert (tmp_path / "outside").is_dir()


def test_an_expert_folder_from_another_base_is_refused(store):
    path = store.path / "experts/world/expert.yaml"
    content = yaml.safe_load(path.read_text())
    content["base"]["sha256"] = "12" * 32
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ExpertError, match=r"sha256 12121212….*sha256 abababab…"):
        store.expert("world")


def test_an_expert_folder_under_another_name_is_refused(store):
    (store.path / "experts/opus").rename(store.path / "aside")
    (store.path / "experts/world").rename(store.path / "experts/opus")
    with pytest.raises(ExpertError, match="describes expert 'world' .* names 'opus'"):
        store.expert("opus")


def test_a_damaged_old_generation_does_not_stop_the_work(store, make_expert, make_draft):
    store.add_generation(make_draft(1, "opus"), activate=True)
    (store.path / "generations/1/generation.yaml").write_text("gone: true")
    assert store.add_generation(make_draft(2, "opus gsm", make_expert("gsm")), activate=True) == 3
    with pytest.raises(RegistryError, match="'world' is already in registry"):
        store.add_generation(make_draft(3, "opus gsm world", make_expert("world")), activate=True)
    assert (store.path / "experts/world").is_dir()
    assert store.verify(repair=True)
    assert (store.path / "experts/world").is_dir(), "the unreadable generation may name it"


def test_generation_files_are_reproducible(make_draft):
    draft = make_draft(None, "")
    first, second = (generation_files(draft, 1, [])[0].files for _ in range(2))
    assert first == second


def test_a_target_of_absurd_length_is_refused_in_few_words(store):
    record = store.expert("world").model_copy(update={"targets": ["x" * 50_000, "output_dense"]})
    with pytest.raises(ExpertError, match="must hold lora_A and lora_B of x+\\.\\.\\. in") as caught:
        checks.check_expert(record, {}, "experts/world")
    assert len(str(caught.value)) < 1_000


def test_a_record_of_a_newer_version_asks_for_that_version(store):
    path = store.path / "generations" / "1" / "generation.yaml"
    record = yaml.safe_load(path.read_text())
    versions = {**record["versions"], "molex-adapt": "99.0.1"}
    path.write_text(yaml.safe_dump(record | {"surprise": 1, "versions": versions}))
    with pytest.raises(
        RegistryError, match=r"written by molex-adapt 99.0.1 and holds surprise.*pip install --upgrade"
    ):
        store.generation()


@pytest.mark.parametrize(
    ("base", "remedy"),
    [
        (
            {"id": "lab/speech", "embedded": False},
            "molex-adapt init lab/speech --revision c1423ed0 --registry other/",
        ),
        ({"id": "embedded", "embedded": True}, "molex-adapt init embedded --registry other/"),
        ({"id": "tiny", "embedded": True}, "a folder called 'tiny'.*molex-adapt init FOLDER"),
    ],
)
def test_an_expert_of_another_base_names_a_command_that_works(make_expert, base, remedy):
    record = make_expert("gsm").record
    other = record.base.model_copy(update=base | {"sha256": "ef" * 32})
    with pytest.raises(ExpertError, match=remedy):
        check_base(record.model_copy(update={"base": other}), record.base)
