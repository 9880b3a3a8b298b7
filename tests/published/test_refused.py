"""Detectors that cannot be taken in are refused by name, with what to do; encoders are taken as ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification

from molex_adapt import Registry
from molex_adapt.base import load_base
from molex_adapt.errors import RegistryError

HEADS = {"num_attention_heads": 2}


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refused(folder: Path, message: str, **stated) -> None:
    target = folder.parent / "registry"
    with pytest.raises(RegistryError, match=message) as caught:
        Registry.create(target, str(folder), **stated)
    assert folder.name in str(caught.value)
    assert not target.exists()


def test_onnx_has_nothing_to_adapt(tmp_path):
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "config.json").write_text('{"model_type": "wav2vec2"}')
    (tmp_path / "detector" / "model.onnx").write_bytes(b"onnx")
    refused(tmp_path / "detector", r"no layers that LoRA could be attached to.* safetensors copy")
    refused(tmp_path / "detector" / "model.onnx", "holds an ONNX model")


def test_onnx_beside_safetensors_does_not_matter(classifier_of, tmp_path):
    folder = Path(shutil.copytree(classifier_of(), tmp_path / "both"))
    (folder / "model.onnx").write_bytes(b"onnx")
    assert Registry.create(tmp_path / "registry", str(folder)).store.generation().number == 0


def test_unclear_labels_are_refused_until_they_are_named(classifier_of, tmp_path):
    folder = classifier_of(labels=("LABEL_0", "LABEL_1"))
    with pytest.raises(RegistryError, match="--bona-fide-label LABEL"):
        Registry.create(tmp_path / "registry", str(folder))
    heads = [
        Registry.create(tmp_path / label, str(folder), bona_fide=label).store.head_tensors(0)
        for label in ("LABEL_0", "LABEL_1")
    ]
    assert (heads[0]["classifier.bias"] == heads[1]["classifier.bias"][::-1]).all()


def test_the_encoder_alone_is_a_base_as_ever(classifier_of, tmp_path):
    folder = classifier_of(labels=("angry", "happy"))
    store = Registry.create(tmp_path / "registry", str(folder), encoder_only=True).store
    assert store.active is None and store.base.published is None
    assert store.base.sha256 == load_base(folder).identity.sha256


def test_what_is_stated_of_a_bare_encoder_is_refused(tiny_base_folder, tmp_path):
    for stated in ({"bona_fide": "real"}, {"trained_on": ["MLS"]}, {"licence": "mit"}):
        with pytest.raises(RegistryError, match="a bare encoder has none. Leave these options out"):
            Registry.create(tmp_path / "registry", str(tiny_base_folder), **stated)
    with pytest.raises(RegistryError, match="an encoder alone was asked for"):
        Registry.create(tmp_path / "registry", "embedded", trained_on=["MLS"])


def test_a_whisper_classifier_hears_silence(tmp_path, tiny_folder_of):
    from transformers import WhisperForAudioClassification

    model = WhisperForAudioClassification.from_pretrained(tiny_folder_of("whisper"), num_labels=2)
    model.save_pretrained(tmp_path / "listener")
    refused(tmp_path / "listener", "averages over 30 s .* --encoder-only")
    assert Registry.create(tmp_path / "registry", str(tmp_path / "listener"), encoder_only=True).store.base


def test_a_classifier_that_hears_spectra_is_refused(tmp_path):
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = Wav2Vec2BertConfig(**sizes, id2label={0: "real", 1: "fake"}, label2id={"real": 0, "fake": 1})
    Wav2Vec2BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    refused(tmp_path / "bert", "hears spectra.* --encoder-only")


def test_a_head_that_was_never_trained_is_refused(classifier_of, tmp_path):
    folder = Path(shutil.copytree(classifier_of(), tmp_path / "headless"))
    rewrite(folder, lambda weights: weights.pop("classifier.weight"))
    refused(folder, "lacks classifier.weight.* --encoder-only")


def test_a_class_that_computes_otherwise_is_refused(classifier_of, tmp_path, monkeypatch):
    kind = type(AutoModelForAudioClassification.from_pretrained(classifier_of()))
    plain = kind.forward

    def louder(self, *args, **kwargs):
        found = plain(self, *args, **kwargs)
        found.logits[:, 0] += 0.01
        return found

    monkeypatch.setattr(kind, "forward", louder)
    with pytest.raises(RegistryError, match="gives noise the score .* computes otherwise than expected"):
        Registry.create(tmp_path / "registry", str(classifier_of()))


SPOILT = {
    "lost weight": (
        lambda weights: weights.pop("m_ssl.model.encoder.layers.1.fc1.bias"),
        HEADS,
        r"lacks encoder.layers.1.feed_forward.intermediate_dense.bias",
    ),
    "no positions": (
        lambda weights: weights.pop("m_ssl.model.encoder.pos_conv.0.weight_v"),
        HEADS,
        "no whole wav2vec 2.0 or HuBERT.*pos_conv_embed",
    ),
    "another weight": (
        lambda weights: weights.update({"m_ssl.model.encoder.extra": torch.ones(2)}),
        HEADS,
        "has encoder.extra, which is not known",
    ),
    "another back end": (
        lambda weights: weights.update({"aasist.weight": torch.ones(2)}),
        HEADS,
        "and aasist.weight beside it",
    ),
    "no encoder": (
        lambda weights: [weights.pop(key) for key in list(weights) if key.startswith("m_ssl")],
        HEADS,
        "and nothing beside it",
    ),
    "one output": (
        lambda weights: weights.update({"proj_fc.weight": torch.ones(1, 32), "proj_fc.bias": torch.ones(1)}),
        HEADS,
        "another shape than two outputs",
    ),
    "another width": (
        lambda weights: weights.update({"m_ssl.model.encoder.layers.0.fc1.weight": torch.ones(9, 32)}),
        HEADS,
        "cannot be loaded: .*intermediate_dense",
    ),
    "unknown heads": (lambda weights: None, None, "32 wide, and how many attention heads .* config.json"),
    "absurd heads": (lambda weights: None, {"num_attention_heads": 5}, "attention heads it has is not known"),
    "strides": (
        lambda weights: None,
        {**HEADS, "conv_stride": [5, 2]},
        "7 convolutions, and the strides of 2",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_antideepfake_detector(antideepfake, tmp_path, kind):
    change, config, message = SPOILT[kind]
    antideepfake(tmp_path / "spoilt", config=config)
    rewrite(tmp_path / "spoilt", change)
    refused(tmp_path / "spoilt", message)


def test_a_damaged_file_is_named(antideepfake, tmp_path):
    antideepfake(tmp_path / "damaged", config=HEADS)
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"rubbish" * 9)
    refused(tmp_path / "damaged", "cannot be loaded")


def test_a_published_head_that_does_not_fit_its_base_is_refused(classifier_of, tmp_path):
    from molex_adapt.detector import head_for
    from molex_adapt.recipe import Recipe
    from molex_adapt.registry.assemble import open_base, require_head

    registry = Registry.create(tmp_path / "registry", str(classifier_of()))
    head, base = registry.store.head_tensors(0), open_base(registry.store)
    require_head(base, Recipe(), head, Path("head"))
    for name, shape in (
        ("classifier.weight", (2, 9)),
        ("classifier.weight", (1, 8)),
        ("classifier.weight", (2,)),
        ("projector.weight", (8, 31)),
        ("projector.bias", (9,)),
        ("closing.weight", (31,)),
    ):
        with pytest.raises(RegistryError, match="has shape .* roll back"):
            require_head(base, Recipe(), head | {name: torch.ones(shape).numpy()}, Path("head"))
    assert not list(head_for(base, Recipe(), head).parameters())


def test_an_epsilon_that_is_none(tiny_base_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "base"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"variance_epsilon": 1e-5}))
    assert load_base(folder).epsilon == 1e-5
    for value in ("x", 0, 2, True):
        (folder / "preprocessor_config.json").write_text(json.dumps({"variance_epsilon": value}))
        with pytest.raises(RegistryError, match="variance_epsilon"):
            load_base(folder)
