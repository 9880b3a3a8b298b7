"""Every family with every norm that it comes with, against transformers itself. Whisper has a file of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, Wav2Vec2FeatureExtractor

from molex_adapt.base import Base, frames, load_base, normalise
from molex_adapt.errors import AudioError, ExpertError
from tests.families import KINDS, VARIANTS, hear, tolerance

EVERY = [variant for variant in VARIANTS if variant[0] != "whisper"]


def waves(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    wave = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        wave[row, :length] = torch.randn(length, generator=torch.Generator().manual_seed(length + row))
    return wave, torch.tensor(lengths)


def ours(base: Base, wave: torch.Tensor, lengths: torch.Tensor) -> tuple[list[torch.Tensor], list[int]]:
    features, frames = base.prefix(wave, lengths)
    with torch.no_grad():
        return base.hidden_states(features, frames), frames.tolist()


@pytest.mark.parametrize(("kind", "norm", "stable"), EVERY)
def test_hidden_states_are_those_of_transformers(tiny_folder_of, kind, norm, stable):
    folder = tiny_folder_of(kind, norm, stable)
    base = load_base(folder)
    assert (base.width, base.prefix_width, len(base.blocks)) == (32, 16, 2)
    # Group norm hears the padding in transformers, as do data2vec's positions: it agrees on rows of one length.
    hears_padding = norm == "group" or kind == "data2vec-audio"
    lengths = (6_400, 6_400) if hears_padding else (6_400, 4_000)
    states, frames = ours(base, *waves(*lengths))
    heard = hear(AutoModel.from_pretrained(folder).eval(), *waves(*lengths))
    expected, last = heard.hidden_states, heard.last_hidden_state
    assert len(states) == len(expected) == 3
    atol = tolerance(kind)
    for row, count in enumerate(frames):
        for left, right in zip(states[:-1], expected[:-1], strict=True):
            torch.testing.assert_close(left[row, :count], right[row, :count], atol=atol, rtol=0)
        final = states[-1][row, :count]
        # With a stable layer norm the blocks' own output is ours, and what transformers calls last is normalised.
        final = base.model.encoder.layer_norm(final) if stable else final
        torch.testing.assert_close(final, last[row, :count], atol=atol, rtol=0)


@pytest.mark.parametrize(("kind", "norm", "stable"), EVERY)
def test_padding_and_company_do_not_change_a_row(tiny_folder_of, kind, norm, stable):
    base = load_base(tiny_folder_of(kind, norm, stable))
    assert base.family.exact_padding == (norm == "layer")
    features, frames = base.prefix(*waves(9_000, 4_000))
    assert not features[1, int(frames[1]) :].any()
    assert features[1, : int(frames[1])].any()
    lengths = (4_000, 9_000, 4_000, 6_001)
    wave, counts = waves(*lengths)
    together, frames = ours(base, wave, counts)
    for row, length in enumerate(lengths):
        alone, (count,) = ours(base, wave[row : row + 1, :length], counts[row : row + 1])
        assert count == frames[row]
        for left, right in zip(together, alone, strict=True):
            torch.testing.assert_close(left[row, :count], right[0], atol=1e-5, rtol=0)
    order = torch.tensor([2, 3, 0, 1])
    shuffled, _ = ours(base, wave[order], counts[order])
    for place, row in enumerate(order.tolist()):
        torch.testing.assert_close(
            shuffled[-1][place, : frames[row]], together[-1][row, : frames[row]], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(("kind", "frames"), [("wavlm", 12), ("data2vec-audio", 12), ("wav2vec2-bert", 11)])
def test_padded_samples_that_are_not_zero_are_not_heard(tiny_folder_of, kind, frames):
    base = load_base(tiny_folder_of(kind))
    wave, lengths = waves(8_000, 4_000)
    quiet, counts = ours(base, wave, lengths)
    wave[1, 4_320:] = 5.0  # what follows the last whole frame
    loud, _ = ours(base, wave, lengths)
    assert counts == base.frames(lengths).tolist()
    assert counts[1] == frames
    torch.testing.assert_close(loud[-1][1, :frames], quiet[-1][1, :frames], atol=1e-5, rtol=0)


def test_train_keeps_evaluation_mode_and_nothing_is_trainable(tiny_folder_of):
    base = load_base(tiny_folder_of())
    base.train()
    assert not any(module.training for module in base.modules())
    assert not any(weight.requires_grad for weight in base.parameters())
    first, _ = ours(base, *waves(8_000))
    again, _ = ours(base, *waves(8_000))
    assert torch.equal(first[-1], again[-1])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whisper"])
def test_the_shortest_input_is_one_frame_and_further_ones_take_20_ms_each(tiny_folder_of, kind):
    base = load_base(tiny_folder_of(kind))
    shortest = {"wav2vec2-bert": 560}.get(kind, 400)
    assert base.receptive_samples == shortest
    for count in (1, 2, 3):
        least = shortest + 320 * (count - 1)
        assert base.frames(torch.tensor([least - 1, least])).tolist() == [count - 1, count]
        features, frames = base.prefix(*waves(least))
        assert (features.shape, frames.tolist()) == ((1, count, 16), [count])
    with pytest.raises(AudioError, match=f"{shortest - 1} samples is shorter than .* {shortest} samples"):
        base.prefix(*waves(800, shortest - 1))


def test_normalise_is_that_of_transformers():
    wave = np.random.default_rng(0).normal(0.3, 2, 1_000).astype(np.float32)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(wave, sampling_rate=16_000)["input_values"][0]
    np.testing.assert_allclose(normalise(wave), expected, atol=1e-5)
    assert np.isfinite(normalise(np.zeros(10, np.float32))).all()


def test_a_model_without_blocks_is_refused(tiny_folder_of):
    base = load_base(tiny_folder_of())
    with pytest.raises(ExpertError, match="no transformer blocks under encoder.layers"):
        Base(base.model.encoder, base.identity, True)


def test_counts_of_frames_go_the_way_that_waits_for_nothing(monkeypatch):
    """From pageable memory a copy of eight bytes waits for all that a card was told before."""
    sent = []
    monkeypatch.setattr(frames, "send", lambda tensor, device: sent.append(device) or tensor)
    mask = frames.frame_mask(torch.tensor([2, 3]), torch.zeros(2, 3, 1))
    assert mask.tolist() == [[True, True, False], [True] * 3]
    assert sent == [torch.device("cpu")]


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_what_lies_far_behind_the_longest_row_is_not_computed(tiny_folder_of, norm):
    base = load_base(tiny_folder_of("wavlm", norm, norm == "layer"))
    wave, counts = waves(9_000, 4_000)
    features, frames = base.prefix(torch.nn.functional.pad(wave, (0, 100_000)), counts)
    assert features.shape[1] <= int(frames.max()) + 5
    plain, _ = base.prefix(wave, counts)
    torch.testing.assert_close(features[:, : plain.shape[1]], plain, atol=1e-5, rtol=0)
    assert not features[:, plain.shape[1] :].any()
