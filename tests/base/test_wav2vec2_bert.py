"""w2v-BERT's spectrum against transformers' feature extractor, and what only its configurations have."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.signal import firwin, lfilter
from transformers import AutoModel, SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertForCTC

from molex_adapt.base import load_base, weights_hash
from molex_adapt.base.kaldi_mel import kaldi_mel
from molex_adapt.errors import RegistryError
from tests.base.test_encoder import ours, waves
from tests.families import SIZES, hear


def heard_by_transformers(wave: np.ndarray, channels: int) -> tuple[torch.Tensor, int]:
    """(F, 2 H) with a last frame that may be half empty, and how many are whole."""
    extractor = SeamlessM4TFeatureExtractor(feature_size=channels, num_mel_bins=channels)
    made = extractor(wave, sampling_rate=16_000, return_tensors="pt")
    return made["input_features"][0], int(made["attention_mask"].sum())


@pytest.mark.parametrize("channels", [8, 80])
@pytest.mark.parametrize("seconds", [0.1, 0.7, 10])
@pytest.mark.parametrize("band", ["wide", "telephone"])
def test_the_spectrum_is_that_of_transformers(sound, channels, seconds, band):
    wave = sound(3, seconds) + np.float32(0.01)
    if (
        band == "telephone"
    ):  # above it there is only rounding, which the norm per channel makes as loud as speech
        wave = lfilter(firwin(255, 3_400, fs=16_000), 1, wave).astype(np.float32)
    expected, whole = heard_by_transformers(wave, channels)
    mel = kaldi_mel(torch.from_numpy(wave)[None], torch.tensor([len(wave)]), channels)[0]
    assert len(mel) // 2 == whole
    torch.testing.assert_close(
        mel[: 2 * whole].reshape(whole, -1), expected[:whole], atol=1e-4, rtol=0, equal_nan=False
    )


def test_loudness_of_company_and_padding_is_not_heard(tiny_folder_of):
    base = load_base(tiny_folder_of("wav2vec2-bert"))
    lengths = (4_000, 9_000, 4_160, 6_001, 560, 30_159)  # odd and even numbers of spectra
    wave, counts = waves(*lengths)
    wave *= torch.tensor([0.1, 1.0, 1e-4, 1.0, 1.0, 10.0])[:, None]
    for row, length in enumerate(lengths):
        wave[row, length:] = 100.0
    features, frames = base.prefix(wave, counts)
    for row, length in enumerate(lengths):
        assert not features[row, int(frames[row]) :].any()
        alone, count = base.prefix(wave[row : row + 1, :length], counts[row : row + 1])
        torch.testing.assert_close(features[row, : int(count)], alone[0], atol=1e-5, rtol=0)


def test_silence_is_no_fault(tiny_folder_of):
    base = load_base(tiny_folder_of("wav2vec2-bert"))
    states, _ = ours(base, torch.zeros(2, 8_000), torch.tensor([8_000, 4_000]))
    assert all(torch.isfinite(state).all() for state in states)


@pytest.mark.parametrize("positions", ["relative", "rotary", None])
def test_other_positions_are_those_of_transformers_and_hear_no_padding(tmp_path, positions):
    config = Wav2Vec2BertConfig(**SIZES["wav2vec2-bert"], position_embeddings_type=positions)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(tmp_path)
    base, (wave, lengths) = load_base(tmp_path), waves(6_400, 4_000)
    states, frames = ours(base, wave, lengths)
    expected = hear(AutoModel.from_pretrained(tmp_path).eval(), wave, lengths).last_hidden_state
    for row, (count, length) in enumerate(zip(frames, lengths.tolist(), strict=True)):
        torch.testing.assert_close(states[-1][row, :count], expected[row, :count], atol=3e-4, rtol=0)
        alone, _ = ours(base, wave[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(states[-1][row, :count], alone[-1][0], atol=1e-5, rtol=0)
    base.compute_in("bf16")
    rounded, _ = ours(base, wave, lengths)
    assert 0 < float((rounded[-1] - states[-1])[0].abs().max()) < 0.1


def test_a_width_that_no_number_of_channels_makes_is_refused(tiny_folder_of, tmp_path):
    folder = shutil.copytree(tiny_folder_of("wav2vec2-bert"), tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"feature_projection_input_dim": 17}))
    with pytest.raises(RegistryError, match="feature_projection_input_dim is 17, and a frame is 2 spectra"):
        load_base(folder)


def test_a_checkpoint_with_a_head_and_a_downsampling_adapter_serves(tmp_path):
    """What lies behind the blocks is kept and not asked."""
    config = Wav2Vec2BertConfig(**SIZES["wav2vec2-bert"], vocab_size=8, add_adapter=True)
    model = Wav2Vec2BertForCTC(config).eval()
    model.save_pretrained(tmp_path)
    base = load_base(tmp_path)
    assert base.identity.sha256 == weights_hash(model.wav2vec2_bert)
    assert not base.normalised
    states, frames = ours(base, *waves(6_400))
    assert (frames, states[-1].shape) == ([19], (1, 19, 32))
