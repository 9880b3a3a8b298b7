"""Experts and mixtures that are whole but do not fit where they are pulled to: refused with a reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from molex_adapt import Registry
from molex_adapt.digest import sha256
from molex_adapt.errors import ExpertError, HubError, MolexError
from molex_adapt.hub.contents import MIXTURE
from molex_adapt.registry import files, layout
from tests.hub.forging import ADAPTER, EXPERT, arrays, changed, recorded
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


def test_another_base(refuses, good):
    content = recorded(good, expert__base__sha256="cd" * 32)
    refuses(content, "was trained on .* this registry's base is .*pull --mixture ORG/REPO", ExpertError)


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
    for width, says in ((2**14, "need"), (2**40, "less than or equal to 16384")):
        recipe["head"]["width"] = width
        refuses(recorded(good, mixture__recipe=yaml.safe_dump(recipe)), says, registry="bare")
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


def test_routing_statistics(refuses, good):
    kept = arrays(good, layout.ROUTING)

    def having(**changes):
        found = {**kept, **{key.replace("__", "."): array for key, array in changes.items()}}
        return changed(good, layout.ROUTING, files.dump_tensors(found))

    refuses(
        having(**{name.replace(".", "__"): array[:1] for name, array in kept.items()}),
        r"this base has \(2, 32\)",
    )
    refuses(having(spoof__mean=np.full_like(kept["spoof.mean"], np.nan)), "NaN or infinite")
    refuses(having(spoof__rest=-kept["spoof.rest"] - 1), "a variance or a count cannot")
    refuses(having(spread=np.zeros_like(kept["spread"])), "a variance or a count cannot")
    refuses(having(spoof__directions=kept["spoof.mean"]), "do not fit together")
    refuses(having(spoof__surprise=kept["spoof.mean"]), "do not fit together")
    refuses({path: body for path, body in good.items() if path != layout.ROUTING}, "routing.safetensors")


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
