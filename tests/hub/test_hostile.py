"""Repositories that are broken, or made to break things: refused with a reason, and the registry as it was."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
import yaml

from molex_adapt import Registry
from molex_adapt.digest import sha256
from molex_adapt.errors import ExpertError, HubError, MolexError
from molex_adapt.hub.contents import MIXTURE
from molex_adapt.hub.pack import pack_expert, pack_mixture
from molex_adapt.registry import files, layout
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub

ADAPTER, EXPERT = layout.ADAPTER, layout.EXPERT


@pytest.fixture(scope="session")
def good(_labs):
    """What a push of expert buzz uploads, by path."""
    store = Registry.open(_labs["ours"]).store
    return {path: bytes(body) for path, body in pack_expert(store, "buzz", "lab/buzz", True).files.items()}


@pytest.fixture(scope="session")
def whole(_labs):
    """What a push of the mixture uploads, by path."""
    store = Registry.open(_labs["ours"]).store
    content = pack_mixture(store, "lab/mixture", True).files
    return {path: body if isinstance(body, bytes) else body.read_bytes() for path, body in content.items()}


@pytest.fixture
def refuses(hub, put, lab, unchanged):
    """Put files into a repository, and see the pull of it refused with certain words, the registry unchanged."""
    into = {}

    def check(content, words, error=HubError, registry="theirs", **options):
        name = hub.name("bad")
        put(name, content)
        if registry not in into:
            into[registry] = lab(registry)
        same = unchanged(into[registry])
        with pytest.raises(error, match=words) as caught:
            into[registry].pull(name, run=CPU, **options)
        same()
        assert all(line.isprintable() for line in str(caught.value).split("\n"))
        return name

    return check


def changed(content, path, body, record=EXPERT):
    """Files with another content, and the record's hash of it mended."""
    found = yaml.safe_load(content[record])
    found["files"][path] = hashlib.sha256(body).hexdigest()
    if record == EXPERT and path == ADAPTER:
        found["expert"]["weights_sha256"] = found["files"][path]
        found["mixture"]["experts"][0] = found["files"][path]
    if record == EXPERT and path == layout.EXEMPLARS:
        found["expert"]["exemplars_sha256"] = found["files"][path]
    return {**content, path: body, record: yaml.safe_dump(found, sort_keys=False).encode()}


def recorded(content, record=EXPERT, **changes):
    """Files whose record says something else; keys are dotted paths with __ for dots."""
    found = yaml.safe_load(content[record])
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = found
        for parent in parents:
            section = section[parent]
        section[last] = value
    return {**content, record: yaml.safe_dump(found, sort_keys=False).encode()}


def arrays(content, path):
    from pathlib import Path

    return {key: array.copy() for key, array in files.parse_tensors(content[path], Path(path)).items()}


def test_the_files_as_they_are_would_be_taken(hub, put, lab, good):
    put(hub.name("good"), good)
    assert lab("theirs").pull(hub.made[-1], run=CPU).activated


def test_a_recipe_with_an_option_that_is_gone_is_taken(hub, put, lab, good):
    recipe = yaml.safe_load(yaml.safe_load(good[EXPERT])["mixture"]["recipe"])
    recipe["router_stage"]["head"] = "frozen"
    put(hub.name("old"), recorded(good, mixture__recipe=yaml.safe_dump(recipe)))
    bare = lab("bare")
    assert bare.pull(hub.made[-1], run=CPU).activated
    assert bare.recipe().router_stage.steps == recipe["router_stage"]["steps"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/folder/x.PT", "data.pkl", "training_args.bin"])
def test_pickled_files_get_no_look_inside(loopback, hub, put, lab, good, unchanged, name):
    repository, theirs = hub.name("pickled"), lab("theirs")
    put(repository, {**good, name: b"cos\nsystem\n(S'true'\ntR."})
    check = unchanged(theirs)
    with pytest.raises(HubError, match=r"may run code where they are loaded.*nothing of it was downloaded"):
        theirs.pull(repository)
    check()
    assert not [asked for asked in loopback.asked if "/resolve/" in asked.path or asked.where == "storage"]
    assert theirs.pull(repository, skip_pickled=True, run=CPU).activated
    fetched = {asked.path.rpartition("/")[2] for asked in loopback.asked if "/resolve/" in asked.path}
    assert fetched == set(good) - {"README.md"}


def test_only_pickled_weights(hub, put, lab, good):
    name = hub.name("pickled")
    put(name, {"adapter_config.json": good["adapter_config.json"], "adapter_model.bin": b"\x80\x04."})
    with pytest.raises(HubError, match="holds no expert: adapter_model.safetensors missing"):
        lab("theirs").pull(name, skip_pickled=True)


@pytest.mark.parametrize(
    "path", ["../../evil.yaml", "/etc/evil", "a/../../b", "..\\..\\evil", "C:/evil", "a\x1b[2Jb", "x\u202ey"]
)
def test_paths_that_lead_out(refuses, good, path):
    refuses({**good, path: b"x"}, "which leads out of it")


def test_hashes(refuses, good):
    tensor = good[ADAPTER]
    refuses({**good, ADAPTER: tensor[:-1] + bytes([tensor[-1] ^ 1])}, "it changed")
    refuses({**good, layout.ROUTER: good[layout.HEAD]}, "it changed")
    missing = {path: body for path, body in good.items() if path != layout.EXEMPLARS}
    refuses(missing, "named in its record but missing there")
    found = yaml.safe_load(good[EXPERT])
    del found["files"][layout.EXEMPLARS]
    refuses({**good, EXPERT: yaml.safe_dump(found).encode()}, "its record lists no exemplars.safetensors")


def test_absurd_headers(refuses, good):
    body = good[ADAPTER]
    (length,) = struct.unpack("<Q", body[:8])
    header, data = json.loads(body[8 : 8 + length]), body[8 + length :]
    tensors = [name for name in header if name != "__metadata__"]

    def with_header(text):
        return struct.pack("<Q", len(text)) + text + data

    first = json.dumps({tensors[0]: header[tensors[0]]})[1:-1]
    huge = {**header, tensors[0]: {**header[tensors[0]], "shape": [2**40, 2**22]}}
    cases = {
        b"": "not a safetensors file",
        struct.pack("<Q", 2**63) + body[8:]: "claims a header of",
        body[: len(body) // 2]: "not a whole safetensors file",
        with_header(b"{" * 5000): "broken safetensors header",
        with_header(json.dumps(huge).encode()): "not a whole safetensors file",
        with_header(("{" + first + ", " + json.dumps(header)[1:]).encode()): "is given twice",
    }
    for content, words in cases.items():
        refuses(changed(good, ADAPTER, content), words)


def test_weights_that_are_none(refuses, good):
    weights = arrays(good, ADAPTER)
    name = min(weights)

    def having(**changes):
        return changed(good, ADAPTER, files.dump_tensors({**weights, **changes}))

    spoilt = weights[name].copy()
    for value in (np.nan, np.inf):
        spoilt[0, 0] = value
        refuses(having(**{name: spoilt}), "NaN or infinite")
    refuses(having(**{name: weights[name][:1]}), "thus rank 1")
    refuses(having(**{name: weights[name].astype(np.int64)}), "int64")
    refuses(having(extra=np.zeros(3, np.float16)), "unexpected: extra")
    refuses(having(**{name: weights[name][:, :-1]}), "does not fit this mixture", ExpertError)
    rest = {key: array for key, array in weights.items() if key != name}
    refuses(changed(good, ADAPTER, files.dump_tensors(rest)), "missing: ")


def test_records_that_are_none(refuses, good):
    text = good[EXPERT]
    cases = {
        "not plain YAML": b"a: [1, 2",
        "refers to an anchor": text.replace(b"seed: 0", b"seed: &x 0\nother: *x"),
        "'name' is given twice": text.replace(b"  domain: buzz", b"  name: buzz\n  domain: buzz", 1),
        "nests deeper": b"format: 1\nexpert: " + b"[" * 200 + b"]" * 200,
        "a mapping of keys is expected": b"- 1",
        "could not determine a constructor|not plain YAML": b"!!python/object/apply:os.system ['true']",
    }
    for words, body in cases.items():
        refuses({**good, EXPERT: body}, words)
    changes = {
        "reads format 1": {"format": 2},
        "Extra inputs are not permitted": {"expert__surprise": 1},
        "is not a name": {"expert__name": "../../evil"},
        "is not a name:": {"expert__domain": "Käse"},
        "less than or equal to 4096": {"expert__rank": 10**9},
        "is not a sha256": {"expert__weights_sha256": "beef"},
        "is no file of an expert": {"files": {"../evil.safetensors": "ab" * 32}},
        "adapter_config.json says r = 2": {"expert__rank": 3},
        "adapter_config.json says lora_alpha": {"expert__alpha": 99.0},
        "no number": {"expert__metrics": {"buzz": {"eer": "low"}}},
        "a figure is beyond": {"expert__metrics": {"buzz": {"eer": 10**300}}},
        "none that molex-adapt writes": {"expert__metrics": {"buzz": {"script": "<script>"}}},
        "less than or equal to 9007": {"expert__data__counts": {"train": {"spoof": 10**30}}},
        "control signs": {"expert__licence": "mit\x1b]0;gone\x07"},
        "finite number": {"mixture__threshold": float("nan")},
        "1 experts and routing width 32 need": {"mixture__experts": ["ab" * 32]},
    }
    for words, change in changes.items():
        refuses(recorded(good, **change), words)


def test_configs_that_are_none(refuses, good):
    path = layout.ADAPTER_CONFIG
    twice = good[path].replace(b'"r": 2', b'"r": 2, "r": 2')
    refuses(changed(good, path, twice), "'r' is given twice")
    refuses(changed(good, path, b"\xff"), "not plain JSON")
    refuses(changed(good, path, b"[" * 100_000), "not plain JSON")
    refuses(changed(good, path, b"[]"), "a mapping of keys is expected")


def test_another_base(refuses, good):
    content = recorded(good, expert__base__sha256="cd" * 32)
    refuses(content, "was trained on .* this registry's base is", ExpertError)


def test_routers_and_heads(refuses, good):
    router = arrays(good, layout.ROUTER)
    wide = {
        key: np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, 1)], "edge") for key, array in router.items()
    }
    refuses(changed(good, layout.ROUTER, files.dump_tensors(wide)), "routes 2 blocks of width 33")
    router["blocks.0.spread"][0] = np.nan
    refuses(changed(good, layout.ROUTER, files.dump_tensors(router)), "NaN or infinite")
    head = arrays(good, layout.HEAD)
    key = next(key for key, array in head.items() if array.size > 1)
    small = {**head, key: np.zeros(1, np.float32)}
    refuses(changed(good, layout.HEAD, files.dump_tensors(small)), "has shape", registry="bare")
    recipe = yaml.safe_load(yaml.safe_load(good[EXPERT])["mixture"]["recipe"])
    recipe["head"]["width"] = 2**40
    refuses(recorded(good, mixture__recipe=yaml.safe_dump(recipe)), "need", registry="bare")
    refuses(recorded(good, mixture__recipe="head: {shape: round}"), "unknown option", registry="bare")


def test_a_spread_of_zero_or_less_is_refused(refuses, good):
    for value in (0.0, -1.0):
        router = arrays(good, layout.ROUTER)
        router["blocks.0.spread"][3] = value
        refuses(
            changed(good, layout.ROUTER, files.dump_tensors(router)),
            "blocks.0.spread has values of 0 or less",
        )


def test_exemplars(refuses, good):
    kept = arrays(good, layout.EXEMPLARS)

    def having(**changes):
        found = {**kept, **{key.replace("__", "."): array for key, array in changes.items()}}
        return changed(good, layout.EXEMPLARS, files.dump_tensors(found))

    count = len(kept["check.lengths"])
    refuses(having(check__frames=kept["check.frames"][:, :-1]), "exemplars are 15 wide")
    refuses(having(check__frames=np.full_like(kept["check.frames"], np.nan)), "NaN or infinite")
    refuses(having(check__bona_fide=np.ones(count, np.uint8)), "both classes are expected")
    refuses(having(check__lengths=kept["check.lengths"].astype(np.float32)), "do not fit")
    refuses(having(check__lengths=kept["check.lengths"] * 1000), "frames")
    refuses(having(check__sources=kept["check.sources"][:1]), "do not fit")
    refuses(having(check__attacks=np.zeros((count, 2), np.int32)), "do not fit")
    refuses(having(check__surprise=np.zeros(1, np.float32)), "no such tensor")


def test_sizes_that_nothing_has(loopback, refuses, good):
    def grown(body):
        found = json.loads(body)
        for item in found["siblings"]:
            if item["rfilename"] == ADAPTER:
                item["size"] = 2**50
        return json.dumps(found).encode()

    loopback.fail("GET", "/api/models", change=grown)
    refuses(good, "at most .* are believable there")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "IA3"}, "a IA3 adapter, not a LORA one"),
        ({"use_dora": True}, "more than plain LoRA: use_dora"),
        ({"modules_to_save": ["head"]}, "more than plain LoRA: modules_to_save"),
        ({"rank_pattern": {"x": 3}}, "more than plain LoRA: rank_pattern"),
        ({"bias": "all"}, "more than plain LoRA: bias"),
        ({"init_lora_weights": "pissa"}, "more than plain LoRA: init_lora_weights"),
        ({"something_new": {"a": 1}}, "more than plain LoRA: something_new"),
        ({"r": 0}, "rank r = 0"),
        ({"r": True}, "rank r = True"),
        ({"r": "8"}, "rank r = 8"),
        ({"r": 5}, "rank 5 on this base needs"),
        ({"lora_alpha": -1}, "no positive number"),
        ({"peft_version": "1\x1b[2J"}, "control signs"),
    ],
)
def test_stock_adapters(refuses, good, change, words):
    config = json.loads(good[layout.ADAPTER_CONFIG]) | change
    content = {layout.ADAPTER_CONFIG: json.dumps(config).encode(), ADAPTER: good[ADAPTER]}
    refuses(content, words, name="stock", assume_base=True)


def test_stock_weights(refuses, good):
    weights = arrays(good, ADAPTER)
    name = min(key for key in weights if "lora_A" in key)

    def stock(found):
        return {layout.ADAPTER_CONFIG: good[layout.ADAPTER_CONFIG], ADAPTER: files.dump_tensors(found)}

    def refused(found, words, error=HubError):
        refuses(stock(found), words, error, name="stock", assume_base=True)

    refused({**weights, name: np.full_like(weights[name], np.nan)}, "NaN or infinite")
    refused({key: array for key, array in weights.items() if key != name}, "lora_A is missing beside")
    refused({**weights, name.replace("layers.0", "layers.77"): weights[name]}, "this mixture adapts")
    refused({**weights, "base_model.model.classifier.weight": weights[name]}, "this mixture adapts")
    refused(
        {**weights, name.replace("output_dense", "x").replace("intermediate_dense", "x"): weights[name]},
        "adapts",
    )
    refused({}, "holds no matrix at all")
    refuses(stock(weights), "is a stock adapter, and registry .* has no head", MolexError, registry="bare")
    config = json.loads(good[layout.ADAPTER_CONFIG]) | {"base_model_name_or_path": "someone/else"}
    content = {**stock(weights), layout.ADAPTER_CONFIG: json.dumps(config).encode()}
    refuses(content, "is an adapter for someone/else; .*--assume-base", ExpertError)


def test_mixtures(hub, put, whole, tmp_path):
    def refused(content, words):
        name = hub.name("bad")
        put(name, content)
        with pytest.raises(HubError, match=words):
            Registry.pull_mixture(name, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    adapter = f"experts/buzz/{ADAPTER}"
    weights = arrays(whole, adapter)
    name = min(weights)
    refused({**whole, adapter: whole[adapter][:-1] + b"\x01"}, "it changed")
    refused({path: body for path, body in whole.items() if path != layout.HEAD}, "missing there")
    refused(
        recorded(whole, MIXTURE, files={"experts/../../x/adapter_config.json": "ab" * 32}),
        "no file of a mixture",
    )
    refused(recorded(whole, MIXTURE, files={"experts/nobody/expert.yaml": "ab" * 32}), "no file of a mixture")
    refused(recorded(whole, MIXTURE, files={"base/evil.py": "ab" * 32}), "no file of a mixture")
    refused(recorded(whole, MIXTURE, generation__surprise=1), "Extra inputs")
    spoilt = files.dump_tensors({**weights, name: np.full_like(weights[name], np.inf)})
    refused(changed(whole, adapter, spoilt, MIXTURE), "it changed")
    config = json.loads(whole["base/config.json"]) | {"auto_map": {"AutoModel": "evil.Model"}}
    refused(changed(whole, "base/config.json", json.dumps(config).encode(), MIXTURE), "no code is taken")
    for change, words in (
        ({"hidden_size": 2**40}, "sizes beyond"),
        ({"num_hidden_layers": 10_000}, "states 10000 blocks"),
        ({"intermediate_size": 100_000}, "config.json asks for .* of shape"),
        ({"model_type": "nothing"}, "config.json of its base is none"),
    ):
        config = json.loads(whole["base/config.json"]) | change
        refused(changed(whole, "base/config.json", json.dumps(config).encode(), MIXTURE), words)
    kept = arrays(whole, "experts/buzz/exemplars.safetensors")
    kept["check.frames"] = kept["check.frames"][:, :-1].copy()
    content = {**whole, "experts/buzz/exemplars.safetensors": files.dump_tensors(kept)}
    record = yaml.safe_load(whole["experts/buzz/expert.yaml"])
    record["exemplars_sha256"] = sha256(content["experts/buzz/exemplars.safetensors"])
    content = changed(content, "experts/buzz/expert.yaml", yaml.safe_dump(record).encode(), MIXTURE)
    content = changed(
        content, "experts/buzz/exemplars.safetensors", content["experts/buzz/exemplars.safetensors"], MIXTURE
    )
    refused(content, "exemplars are 15 wide")
    base = arrays(whole, "base/model.safetensors")
    other = min(key for key in base if base[key].size > 4)
    body = files.dump_tensors({**base, other: base[other] + 1})
    refused(changed(whole, "base/model.safetensors", body, MIXTURE), "have sha256")
    refused(recorded(whole, MIXTURE, base__sha256="ab" * 32), "was trained on")
    refused({**whole, "notes.pkl": b"x"}, "only safetensors are read")
    put(hub.name("good"), whole)
    assert Registry.pull_mixture(hub.made[-1], tmp_path / "new").store.verify() == []


def test_a_card_cannot_carry_markup(hub, put, lab, good):
    """What a stranger wrote ends up in a card here: as text."""
    record = {
        "attacks": ["<script>alert(1)</script>", "](javascript:1)|x"],
        "digest": "`rm`",
        "counts": {},
        "split_by": "|",
    }
    put(hub.name("markup"), recorded(good, expert__data=record, expert__licence="<b>"))
    theirs = lab("theirs")
    theirs.pull(hub.made[-1], run=CPU)
    card = (theirs.store.expert_folder("buzz") / layout.CARD).read_text()
    assert "<script>" not in card
    assert "](javascript" not in card
    assert "<b>" not in card
