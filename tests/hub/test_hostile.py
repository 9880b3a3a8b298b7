"""Repositories that are broken, or made to break things: refused with a reason, and the registry as it was."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import yaml

from molex_adapt.errors import ExpertError, HubError
from molex_adapt.registry import files, layout
from tests.hub.forging import ADAPTER, EXPERT, arrays, changed, recorded
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


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
        "eer of 'buzz' is -5; from 0 to 1 is expected": {"expert__metrics": {"buzz": {"eer": -5.0}}},
        "eer_ci of 'buzz' is 1.5": {"expert__metrics": {"buzz": {"eer": 0.5, "eer_ci": [0.1, 1.5]}}},
        "cllr of 'buzz' is -1": {"expert__metrics": {"buzz": {"cllr": -1}}},
        "bona_fide of 'buzz' is 1e\\+09": {"expert__metrics": {"buzz": {"bona_fide": 10**9}}},
        "spoof of 'buzz' is 0.5": {"expert__metrics": {"buzz": {"spoof": 0.5}}},
        "created 'yesterday \\| x', which is no time": {"expert__created": "yesterday | x"},
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


def test_a_record_of_a_newer_version_is_nobodys_fault(refuses, good):
    refuses(
        recorded(good, expert__surprise=1, expert__versions={"molex-adapt": "99.0.1"}),
        r"written by molex-adapt 99.0.1 and holds expert.surprise, .*pip install --upgrade molex-adapt",
    )
    for said in ("0.0.1", "new", 7, None):
        refuses(
            recorded(good, expert__surprise=1, expert__versions={"molex-adapt": said}),
            "was refused: .*wrong value",
        )
