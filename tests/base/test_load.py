from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2ForPreTraining

from molex_adapt.base import load_base, weights_hash
from molex_adapt.errors import MolexError, RegistryError


@pytest.fixture
def folder(tiny_folder_of, tmp_path) -> Path:
    """A base to spoil."""
    return Path(shutil.copytree(tiny_folder_of(), tmp_path / "base"))


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del weights[key]
        else:
            weights[key] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_identity_of_a_folder(folder, monkeypatch):
    base = load_base(folder)
    assert (base.identity.id, base.identity.revision) == ("base", "local")
    assert base.identity.sha256 == weights_hash(AutoModel.from_pretrained(folder))
    assert f"base@local (sha256 {base.identity.sha256[:8]}…)" in str(base.identity)
    monkeypatch.chdir(folder)
    assert load_base(".").identity == base.identity


def test_the_hash_is_of_values_not_of_storage(folder, tmp_path):
    model = AutoModel.from_pretrained(folder).half()
    model.save_pretrained(tmp_path / "half")
    model.float().save_pretrained(tmp_path / "float")
    half, single = (load_base(tmp_path / name).identity.sha256 for name in ("half", "float"))
    assert half == single != load_base(folder).identity.sha256
    assert weights_hash(AutoModel.from_pretrained(tmp_path / "half", dtype=torch.float16)) == half
    assert load_base(tmp_path / "half").model.dtype == torch.float32


def test_whether_waves_are_normalised(folder):
    assert load_base(folder).normalised  # as models with a layer-norm extractor were trained
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert not load_base(folder).normalised
    configure(folder, feat_extract_norm="layer")
    (folder / "preprocessor_config.json").write_text("[1]")
    assert load_base(folder).normalised


def test_a_checkpoint_with_a_pretraining_head_serves(tiny_folder_of, tmp_path):
    config = Wav2Vec2Config.from_pretrained(
        tiny_folder_of("wav2vec2"), proj_codevector_dim=16, codevector_dim=16
    )
    model = Wav2Vec2ForPreTraining(config)
    model.save_pretrained(tmp_path / "pretrained")
    assert load_base(tmp_path / "pretrained").identity.sha256 == weights_hash(model.wav2vec2)


def test_the_mask_embedding_may_be_missing_and_is_no_chance(folder):
    rewrite(folder, masked_spec_embed=None)
    assert load_base(folder).identity == load_base(folder).identity


def spoil_config(text: str):
    return lambda folder: (folder / "config.json").write_text(text)


SPOILT = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json; .* save_pretrained"),
    "no json": (spoil_config("{"), "not a valid JSON"),
    "no type": (spoil_config("{}"), "cannot be loaded: Unrecognized model"),
    "other type": (
        lambda folder: configure(folder, model_type="bert"),
        "'bert' model; bases are one of wavlm",
    ),
    "no blocks": (lambda folder: configure(folder, num_hidden_layers=0), "no transformer blocks"),
    "text": (lambda folder: configure(folder, hidden_size="x"), "cannot be loaded: .*hidden_size"),
    "negative": (lambda folder: configure(folder, hidden_size=-4), "cannot be loaded"),
    "heads": (lambda folder: configure(folder, num_attention_heads=5), "cannot be loaded: embed_dim"),
    "stem": (lambda folder: configure(folder, conv_kernel=[1, 2]), "cannot be loaded"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "no file named model.safetensors.* Give a Hub model id with safetensors weights",
    ),
    "pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "no file named model.safetensors",
    ),
    "rubbish": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"rubbish" * 9),
        "header too large",
    ),
    "cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-9]
        ),
        "cannot be loaded",
    ),
    "lost weight": (
        lambda folder: rewrite(folder, encoder__layers__0__attention__k_proj__weight=None),
        "lacks 1 of the weights .* encoder.layers.0.attention.k_proj.weight; .* complete checkpoint",
    ),
    "other shape": (
        lambda folder: rewrite(folder, encoder__layers__0__attention__k_proj__weight=torch.zeros(3, 3)),
        "another shape in 1 of the weights",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_base_is_an_error_that_names_it(folder, kind, capfd):
    spoil, message = SPOILT[kind]
    spoil(folder)
    with pytest.raises(MolexError, match=message) as caught:
        load_base(folder)
    assert "base" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_nothing_there(tmp_path):
    with pytest.raises(RegistryError, match="cannot be loaded: .* Give a Hub model id"):
        load_base("nobody/nothing")
    with pytest.raises(RegistryError, match="has no config.json"):
        load_base(tmp_path)
