"""Generation 0 gives the scores that a detector was published with, from its own code, alone and in batches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from molex_adapt import Registry, Run
from molex_adapt.registry.assemble import build_detector

CPU = Run(workers=1, device="cpu")
LENGTHS = (6_000, 16_000, 9_321)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
"""Of the same sums in another order, which processors round differently."""


@pytest.fixture
def waves() -> list[np.ndarray]:
    """Quiet ones too: what is added to a variance counts there."""
    rng = np.random.default_rng(0)
    scale = (0.1, 0.01, 0.003)
    return [(s * rng.standard_normal(n)).astype(np.float32) for n, s in zip(LENGTHS, scale, strict=True)]


def scored(registry: Registry, waves: list[np.ndarray]) -> torch.Tensor:
    """By generation 0, in one padded batch."""
    detector = registry.detector(0, run=CPU)
    prepared = [detector.prepare(wave) for wave in waves]
    assert all(len(windows) == 1 for windows in prepared)
    batch = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(item) for (item,) in prepared], batch_first=True
    )
    return detector.score(batch, torch.tensor([len(wave) for wave in waves]))


def published(folder, waves, real: int) -> torch.Tensor:
    """Differences of logits by transformers, each waveform alone."""
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        logits = [
            model(**prepare(wave, sampling_rate=16_000, return_tensors="pt")).logits[0] for wave in waves
        ]
    return torch.stack([row[real] - row[1 - real] for row in logits])


CLASSES = [
    ("wav2vec2", True, False),
    ("wav2vec2", False, True),
    ("hubert", True, True),
    ("hubert", False, False),
    ("wavlm", True, False),
    ("wavlm", True, True),
    ("unispeech-sat", True, False),
    ("data2vec-audio", True, True),
]


@pytest.mark.parametrize(("kind", "stable", "weighted"), CLASSES)
def test_a_classifier_scores_as_transformers_has_it(classifier_of, tmp_path, waves, kind, stable, weighted):
    labels = ("real", "fake") if stable else ("spoof", "bonafide")
    folder = classifier_of(kind, stable=stable, weighted=weighted, labels=labels)
    registry = Registry.create(tmp_path / "registry", str(folder))
    expected = published(folder, waves, int(not stable))
    assert expected.abs().max() > 0.01 and expected.std() > 1e-3
    torch.testing.assert_close(scored(registry, waves), expected, **CLOSE)
    assert registry.store.base.published.bona_fide == labels[int(not stable)]
    assert registry.store.verify() == []


def test_a_classifier_in_a_padded_batch_of_its_own(classifier_of, tmp_path, waves):
    folder = classifier_of("wav2vec2")
    model, prepare = AutoModelForAudioClassification.from_pretrained(folder).eval(), AutoFeatureExtractor
    batch = prepare.from_pretrained(folder)(waves, sampling_rate=16_000, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    registry = Registry.create(tmp_path / "registry", str(folder))
    torch.testing.assert_close(scored(registry, waves), logits[:, 0] - logits[:, 1], **CLOSE)


def test_of_three_labels_the_score_is_the_log_odds_of_one(classifier_of, tmp_path, waves):
    folder = classifier_of("hubert", labels=("tts", "human voice", "voice conversion"))
    registry = Registry.create(tmp_path / "registry", str(folder))
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        inputs = prepare(waves[0], sampling_rate=16_000, return_tensors="pt")
        odds = model(**inputs).logits[0].double().softmax(0)[1].logit().float()
    torch.testing.assert_close(scored(registry, waves[:1])[0], odds, **CLOSE)
    assert registry.store.base.published.spoof == ["tts", "voice conversion"]


def test_the_last_state_of_a_weighted_sum_is_normalised_where_transformers_4_trained_it(
    classifier_of, tmp_path, waves
):
    source = classifier_of("wav2vec2", weighted=True)
    old = tmp_path / "old"
    old.mkdir()
    for path in source.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"transformers_version": "4.57.1"}))
    registry = Registry.create(tmp_path / "registry", str(old))
    model = AutoModelForAudioClassification.from_pretrained(source).eval()
    prepare = AutoFeatureExtractor.from_pretrained(source)
    inputs = prepare(waves[0], sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        output = model.wav2vec2(**inputs, output_hidden_states=True)
        states = torch.stack([*output.hidden_states[:-1], output.last_hidden_state])
        mixed = (states * model.layer_weights.softmax(0)[:, None, None, None]).sum(0)
        logits = model.classifier(model.projector(mixed).mean(1))[0]
    found = scored(registry, waves[:1])[0]
    torch.testing.assert_close(found, logits[0] - logits[1], **CLOSE)
    assert abs(found - published(source, waves[:1], 0)[0]) > 1e-3


HEADS = {"encoder_attention_heads": 2}
SIZES = {
    "wav2vec 2.0 large": ({}, HEADS),
    "wav2vec 2.0 base": ({"large": False, "bias": False}, HEADS),
    "HuBERT": ({"hubert": True, "bias": False}, {"num_attention_heads": 2}),
    "nothing but weights": ({"width": 768, "heads": 12, "layers": 1}, None),
}


@pytest.mark.parametrize("kind", SIZES)
def test_an_antideepfake_detector_scores_as_its_own_code_has_it(antideepfake, tmp_path, waves, kind):
    sizes, config = SIZES[kind]
    model = antideepfake(tmp_path / "anti-deepfake", config=config, **sizes)
    registry = Registry.create(tmp_path / "registry", str(tmp_path / "anti-deepfake"))
    with torch.no_grad():
        logits = torch.cat([model(torch.from_numpy(wave)[None]) for wave in waves])
    expected = logits[:, 1] - logits[:, 0]
    assert expected.abs().max() > 0.01 and expected.std() > 1e-3
    torch.testing.assert_close(scored(registry, waves), expected, **CLOSE)
    base = registry.store.base
    assert (base.id, base.embedded, base.published.kind) == ("anti-deepfake", True, "AntiDeepfake")
    assert (base.published.bona_fide, base.published.spoof) == ("real", ["fake"])
    config = json.loads((registry.store.base_folder / "config.json").read_text())
    assert config["model_type"] == ("hubert" if kind == "HuBERT" else "wav2vec2")
    assert registry.store.verify() == []


def test_half_precision_and_other_prefixes_are_read(antideepfake, tmp_path, waves):
    model = antideepfake(tmp_path / "a", config=HEADS)
    weights = {key: value.half() for key, value in load_file(tmp_path / "a" / "model.safetensors").items()}
    weights = {key.replace("m_ssl.model.", "ssl."): value for key, value in weights.items()}
    save_file(weights, tmp_path / "a" / "model.safetensors")
    model.half().float()
    registry = Registry.create(tmp_path / "registry", str(tmp_path / "a"))
    with torch.no_grad():
        logits = model(torch.from_numpy(waves[0])[None])[0]
    torch.testing.assert_close(scored(registry, waves[:1])[0], logits[1] - logits[0], **CLOSE)


def test_long_recordings_are_heard_whole_for_a_minute(classifier_of, tmp_path):
    registry = Registry.create(tmp_path / "registry", str(classifier_of()))
    detector = build_detector(registry.store)
    assert [len(detector.prepare(np.ones(n * 16_000, np.float32))) for n in (59, 61)] == [1, 2]
