"""Whisper against transformers on inputs of full length, and against itself where transformers hears no such input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
)

from molex_adapt.base import Base, load_base
from molex_adapt.base.log_mel import log_mel
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError, MolexError, RegistryError
from tests.base.test_encoder import ours, waves
from tests.families import hear

FULL = 32_000
"""Samples that the tiny Whisper has positions for."""


@pytest.fixture
def folder(tiny_folder_of) -> Path:
    return tiny_folder_of("whisper")


@pytest.fixture
def base(folder) -> Base:
    return load_base(folder)


def test_hidden_states_are_those_of_transformers(folder, base):
    assert (base.width, base.prefix_width, len(base.blocks), base.longest_samples) == (16, 16, 2, FULL)
    wave, lengths = waves(FULL, 9_000)
    expected = hear(AutoModel.from_pretrained(folder).eval(), wave, lengths)
    # Transformers hears the silence behind the shorter one: to do the same, its zeros count as valid here.
    states, frames = ours(base, wave, torch.tensor([FULL, FULL]))
    assert frames == [100, 100]
    for left, right in zip(states[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)
    last = base.model.encoder.layer_norm(states[-1])
    torch.testing.assert_close(last, expected.last_hidden_state, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [80, 128])
@pytest.mark.parametrize("seconds", [0.025, 0.7, 30])
def test_the_spectrum_is_that_of_transformers(sound, channels, seconds):
    extractor = WhisperFeatureExtractor(feature_size=channels)
    wave = sound(3, seconds)
    expected = extractor(wave, sampling_rate=16_000, padding="do_not_pad", return_tensors="pt")
    mel, valid = log_mel(torch.from_numpy(wave)[None], torch.tensor([len(wave)]), channels)
    assert valid.all()
    torch.testing.assert_close(mel[0], expected["input_features"][0], atol=1e-5, rtol=0)


def test_padding_and_company_do_not_change_a_row(base):
    lengths = (4_000, 9_000, 4_160, 6_001, 400, 30_159)  # odd and even numbers of spectra
    wave, counts = waves(*lengths)
    # What is loudest elsewhere must not count.
    wave *= torch.tensor([0.1, 1.0, 1e-4, 1.0, 1.0, 10.0])[:, None]
    wave[:, 0] = 3.0  # a click: the first sample, held behind the end of a row, would be loudest
    for row, length in enumerate(lengths):
        wave[row, length:] = 100.0
    features, frames = base.prefix(wave, counts)
    together, _ = ours(base, wave, counts)
    for row, length in enumerate(lengths):
        assert not features[row, int(frames[row]) :].any()
        alone, (count,) = ours(base, wave[row : row + 1, :length], counts[row : row + 1])
        assert count == frames[row]
        for left, right in zip(together, alone, strict=True):
            torch.testing.assert_close(left[row, :count], right[0], atol=1e-5, rtol=0)


def test_later_frames_of_a_row_are_heard(base):
    """The mask hides padding, not speech."""
    wave, lengths = waves(8_000, 16_000)
    before, _ = ours(base, wave, lengths)
    wave[0, 7_000:8_000] = 0
    after, _ = ours(base, wave, lengths)
    assert float((before[-1] - after[-1])[0, 0].abs().max()) > 1e-4
    torch.testing.assert_close(before[-1][1], after[-1][1], atol=1e-5, rtol=0)


def test_every_further_frame_takes_twenty_milliseconds(base):
    lengths = torch.tensor([400 + 320 * at for at in range(99)])
    assert base.frames(lengths).tolist() == list(range(1, 100))
    assert base.frames(lengths + 79).tolist() == list(range(1, 100))
    for length in (400, 479, 480, 5_119, 5_120, FULL):
        features, frames = base.prefix(*waves(length))
        assert features.shape[1] == int(frames) == int(base.frames(torch.tensor([length])))
    with pytest.raises(AudioError, match="399 samples is shorter than .* 400 samples"):
        base.prefix(*waves(800, 399))


def test_more_than_there_are_positions_for_is_refused_and_windows_are_cut(base, tiny_recipe):
    with pytest.raises(AudioError, match="2.00006 s at once are more than the 2 s that .*whisper"):
        base.prefix(*waves(FULL + 1))
    detector = Detector(base, tiny_recipe(data={"window_seconds": 10.0}))
    wave = np.random.default_rng(0).normal(size=3 * FULL - 1).astype(np.float32)
    assert [len(row) for row in detector.prepare(wave)] == [FULL, FULL, FULL - 1]
    assert len(detector.prepare(wave[:FULL])) == 1


def test_silence_is_no_fault(base):
    states, _ = ours(base, torch.zeros(2, 8_000), torch.tensor([8_000, 4_000]))
    assert all(torch.isfinite(state).all() for state in states)


def test_the_encoder_is_one_base_in_whatever_checkpoint_it_lies(folder, base, tmp_path):
    whole = AutoModel.from_pretrained(folder)
    whole.encoder.save_pretrained(tmp_path / "bare")
    for kind in (WhisperForConditionalGeneration, WhisperForAudioClassification):
        model = kind(whole.config)
        model.get_encoder().load_state_dict(whole.encoder.state_dict())
        model.save_pretrained(tmp_path / kind.__name__)
    base.model.save_pretrained(tmp_path / "ours")
    for path in tmp_path.iterdir():
        found = load_base(path)
        assert found.identity.sha256 == base.identity.sha256, path
        assert all(name.startswith("encoder.") for name in found.model.state_dict())
    assert not base.normalised
    saved = AutoModel.from_pretrained(tmp_path / "ours").encoder.state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in whole.encoder.state_dict().items())


def test_an_incomplete_encoder_is_refused_and_the_decoder_is_not_asked_for(folder, base, tmp_path):
    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    kept = {name: value for name, value in weights.items() if not name.startswith("decoder.")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_base(tmp_path).identity.sha256 == base.identity.sha256
    del kept["encoder.embed_positions.weight"]
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RegistryError, match=r"lacks 1 of the weights .* encoder.embed_positions.weight"):
        load_base(tmp_path)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"encoder_layers": 0}, "no transformer blocks under encoder.layers; use a WavLM or .* Whisper"),
        ({"encoder_layers": 3}, "lacks 15 of the weights .* encoder.layers.2"),
        ({"max_source_positions": 50}, "another shape in 1 of the weights .* encoder.embed_positions.weight"),
        ({"num_mel_bins": 80}, "another shape in 1 of the weights .* encoder.conv1.weight"),
        ({"encoder_attention_heads": 5}, "cannot be loaded: embed_dim must be divisible"),
        ({"d_model": "x"}, "cannot be loaded: .*d_model"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, tmp_path, stated, message):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | stated))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(MolexError, match=message):
        load_base(tmp_path)
