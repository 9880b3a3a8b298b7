"""The shipped wide-band weights load into today's classes, and the parts of the training do what they say."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from molex_adapt.errors import DataError
from molex_adapt.shipped import registry_path
from tools.wideband import base, checkpoint, conditions, forging, speech
from tools.wideband.adversarial import Plan, train_vocoder
from tools.wideband.corpus import Store, Stretch, read_speech, write_speech
from tools.wideband.model import WideBand, load_base, load_start, save_base, wide_band_config
from tools.wideband.speakers import UNKNOWN, find_voices
from tools.wideband.spectra import RATE, LogMel, resample_by_fft
from tools.wideband.vocoders import KINDS, load_vocoder

WEIGHTS = Path(base.__file__).parent / "weights"
CPU = torch.device("cpu")
TINY = wide_band_config(width=32, blocks=2, heads=2, inner=64, channels=16)
SIZES = base.Sizes(batch=4, distil=6400, detect=6400, shortest=4800)


def harmonics(seconds: float = 1.0, pitch: float = 150.0) -> Tensor:
    """(1, T): twenty harmonics that fall by 6 dB an octave and swell four times a second."""
    time = torch.arange(int(seconds * RATE)) / RATE
    wave = sum(torch.sin(2 * math.pi * pitch * n * time) / n for n in range(1, 21))
    return (0.1 * wave * (1 + 0.5 * torch.sin(2 * math.pi * 4 * time)))[None]


@pytest.mark.parametrize("kind", ["istft", "mel_gan"])
def test_a_shipped_vocoder_copies_a_sound(kind):
    name, vocoder = load_vocoder(WEIGHTS / f"vocoder_{kind}.safetensors", CPU)
    assert name == kind and isinstance(vocoder, KINDS[kind])
    wave = torch.nn.functional.pad(harmonics(), (0, -RATE % forging.STEP))
    with torch.no_grad():
        copy = vocoder(wave)
        noise = torch.randn(wave.shape) * wave.square().mean().sqrt()
    assert copy.shape == wave.shape and torch.isfinite(copy).all()
    mel = LogMel(1024, 256)
    near, far = ((mel(wave) - mel(other)).abs().mean() for other in (copy, noise))
    assert near < 0.5 * far  # the trained weights, not random ones, are in place


def test_the_shipped_base_is_of_the_class_and_loads_to_the_last_tensor():
    folder = registry_path() / "base"
    shipped = json.loads((folder / "config.json").read_text())
    ours = wide_band_config().to_dict()
    assert {key: shipped[key] for key in shipped if key != "transformers_version"} == {
        key: ours[key] for key in shipped if key != "transformers_version"
    }
    model, stored = WideBand(1).base, load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    assert sum(tensor.numel() for tensor in model.parameters()) == 7_094_560
    with torch.no_grad():
        assert model.eval()(harmonics()).last_hidden_state.shape == (1, 49, 256)


@pytest.mark.parametrize("kind", KINDS)
def test_every_vocoder_learns_from_a_copy(kind):
    vocoder = KINDS[kind]().train()
    vocoder(harmonics(0.32)).square().mean().backward()
    assert all(
        tensor.grad is not None and torch.isfinite(tensor.grad).all()
        for name, tensor in vocoder.named_parameters()
        if "books" not in name  # they learn from the quantiser's own loss
    )


def test_a_vocoder_trains_against_its_judges():
    plan = Plan(seconds=0.1, batch=1, crop=5120, alone=0)
    wave = (harmonics(2.0)[0] * 20_000).short()
    vocoder, steps, _ = train_vocoder("istft", wave, plan)
    torch.manual_seed(plan.seed)
    fresh = KINDS["istft"]()
    assert steps and not torch.equal(vocoder.out.weight, fresh.out.weight)
    assert all(torch.isfinite(tensor).all() for tensor in vocoder.parameters())


@pytest.mark.parametrize("samples", [6400, 16_001])
def test_conditions_keep_shape_and_range(samples):
    torch.manual_seed(0)
    wave = torch.randn(6, samples) * 0.1
    wave[3] = 0  # digital silence
    for g722 in (None, torch.tensor([[True], [False]] * 3)):
        for _ in range(5):
            heard = conditions.Conditions(CPU)(wave, g722)
            assert heard.shape == wave.shape and torch.isfinite(heard).all() and heard.abs().max() <= 1.001


@pytest.mark.parametrize(
    "change", ["set_level", "reverberate", "add_band_noise", "clip", "limit_band", "code", "mu_law"]
)
def test_a_condition_hears_each_row_alone(change):
    wave = torch.randn(4, 6400) * 0.1
    other = wave.clone()
    other[0] = harmonics(0.4)[0]
    heard = []
    for batch in (wave, other):
        torch.manual_seed(3)
        heard.append(getattr(conditions.Conditions(CPU), change)(batch))
    assert torch.allclose(heard[0][1:], heard[1][1:], atol=1e-6)
    assert not torch.allclose(heard[0][0], heard[1][0])


def test_babble_comes_from_either_class_alike():
    """Rows are ordered by class, as in training; a row's babble must not come from its neighbours."""
    time = torch.arange(1600) / RATE
    wave = torch.cat([torch.sin(2 * math.pi * hertz * time).expand(8, -1) for hertz in (1000, 3000)])
    maker, crossed, same_only = conditions.Conditions(CPU), 0, 0
    torch.manual_seed(0)
    maker._chance = lambda rows, probability: torch.ones(len(rows), 1, dtype=torch.bool)
    for _ in range(60):
        added = torch.fft.rfft(maker.add_noise(wave) - wave).abs()
        other = torch.cat([added[:8, 300], added[8:, 100]]) > 1e-3 * added.amax(1)
        crossed, same_only = crossed + int(other.sum()), same_only + int((~other).sum())
    assert (
        0.65 < crossed / (crossed + same_only) < 0.85
    )  # of two random rows one is of the other class: about 3 in 4


def test_no_condition_is_told_the_class():
    assert list(inspect.signature(conditions.Conditions.__call__).parameters) == ["self", "wave", "g722"]


def test_a_transform_codec_is_exact_where_it_need_not_save():
    codec = conditions.TransformCodec(128, CPU)
    wave = harmonics(0.4)
    fine = codec(wave, torch.tensor([[90.0]]), torch.tensor([[-300.0]]))
    coarse = codec(wave, torch.tensor([[3.0]]), torch.tensor([[-40.0]]))
    assert torch.allclose(fine, wave, atol=1e-3)
    assert (coarse - wave).square().mean() > 0.01 * wave.square().mean()


def make_data(folder: Path) -> Store:
    """Recordings of two voices and two forged sets, a few seconds each."""
    rng = np.random.default_rng(0)
    for name, pitch in (("speech", 140.0), ("forged/one", 170.0), ("forged/two", 200.0)):
        pieces = []
        for number in range(6):
            wave = harmonics(0.6 + 0.1 * number, pitch + 5 * number)[0].numpy()
            wave = wave + rng.normal(size=len(wave)) * 0.01
            part = "dev" if number > 3 else "train"
            pieces.append(
                ((wave * 20_000).astype(np.int16), Stretch(f"v{number}", part, 0, 0, g722=number == 0))
            )
        write_speech(folder / name, pieces)
    return Store.load(folder / "speech", folder / "forged", CPU, shortest=4000)


def make_trainer(store: Store, leave_out: str | None = None) -> base.Trainer:
    torch.manual_seed(1)
    taught = torch.randn(len(store.wave) // base.HOP + 1, 2, 512, generator=torch.manual_seed(2)).half()
    torch.manual_seed(1)
    return base.Trainer(WideBand(2, TINY), store, taught, SIZES, leave_out)


@pytest.mark.parametrize("stage", ["distil", "post-train"])
def test_a_resumed_run_equals_one_that_was_not_stopped(tmp_path, stage, monkeypatch):
    store = make_data(tmp_path)
    whole = make_trainer(store)
    base.run_stage(whole, stage, checkpoint.Schedule(2, "a", tmp_path / "whole.checkpoint"))

    stopped = make_trainer(store)
    schedule = checkpoint.Schedule(2, "a", tmp_path / "half.checkpoint", seconds=-1)
    method = stage.replace("-", "_")
    real = getattr(base.Trainer, method)

    def killed(self, step):
        if step == 1:
            raise KeyboardInterrupt
        return real(self, step)

    monkeypatch.setattr(base.Trainer, method, killed)
    with pytest.raises(KeyboardInterrupt):
        base.run_stage(stopped, stage, schedule)
    monkeypatch.setattr(base.Trainer, method, real)
    resumed = make_trainer(store)
    torch.manual_seed(99)  # a new process has another state of chance
    base.run_stage(resumed, stage, schedule)
    left, right = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    start = make_trainer(store).model.state_dict()
    assert not torch.equal(start["mel.weight"], left["mel.weight"])


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    store = make_data(tmp_path)
    base.run_stage(make_trainer(store), "distil", checkpoint.Schedule(1, "a", tmp_path / "c.checkpoint"))
    with pytest.raises(DataError, match="written by the run 'a'; this one is 'b'"):
        base.run_stage(make_trainer(store), "distil", checkpoint.Schedule(2, "b", tmp_path / "c.checkpoint"))


def test_an_attack_left_out_is_not_trained_on_but_measured(tmp_path):
    store = make_data(tmp_path)
    trainer = make_trainer(store, leave_out="one")
    assert trainer.trained == ["two"]
    _, kind = trainer._both_classes()
    assert kind.tolist() == [0, 0, 2, 2]
    report = base.measure(trainer.model, store, samples=6400)
    assert report.keys() == {"clean", "drawn"}
    assert all(figures.keys() == {"below_train_q05", "one", "two"} for figures in report.values())
    assert report == base.measure(trainer.model, store, samples=6400)


def test_a_base_is_written_and_read_again(tmp_path):
    model = WideBand(2, TINY)
    save_base(model, tmp_path, "tiny")
    assert torch.allclose(
        load_base(tmp_path, "tiny").encoder.layer_norm.weight, model.base.encoder.layer_norm.weight
    )
    other = WideBand(5, TINY)  # of more attacks
    assert load_start(other, tmp_path / "whole_tiny.safetensors")
    assert torch.equal(other.score.weight, model.score.weight)
    assert not load_start(other, tmp_path / "base_tiny.safetensors")


def test_copies_keep_order_length_and_level(tmp_path):
    make_data(tmp_path)
    wave, rows = read_speech(tmp_path / "speech")
    copies = forging.make_copies(lambda batch: 0.3 * batch, wave, rows, CPU, width=2 * RATE)
    for copy, row in zip(copies, rows, strict=True):
        source = wave[row.offset : row.offset + row.length].numpy()
        assert np.abs(copy.astype(int) - source).max() <= 2


def test_griffin_lim_keeps_the_magnitudes():
    torch.manual_seed(0)
    wave, mel = harmonics(), LogMel(1024, 256)
    near, far = ((mel(forging.griffin_lim(wave, 512, n, 0.9)) - mel(wave)).abs().mean() for n in (32, 0))
    assert near < 0.6 * far


def test_resampling_there_and_back():
    wave = harmonics(0.8)
    there = resample_by_fft(wave, 441, 320)
    assert there.shape[1] == wave.shape[1] * 441 // 320
    assert torch.allclose(resample_by_fft(there, 320, 441), wave, atol=1e-4)


def test_cutting_finds_speech_between_pauses():
    loud, pause = harmonics(2.5)[0].numpy(), np.zeros(RATE, np.float32)
    found = speech.cut(np.concatenate([pause, loud, pause, loud]))
    starts = [(first / RATE, end / RATE) for first, end in found]
    assert np.allclose(starts, [(1.0, 3.5), (4.5, 7.0)], atol=0.1)
    assert speech.cut(pause) == []


def test_voices_are_found_within_and_across_groups():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 256))
    truth = np.array([0, 1] * 20)
    vectors = centres[truth] + 0.1 * rng.normal(size=(40, 256))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors[7] = -vectors[6]  # near to no voice
    found = find_voices(vectors, np.full(40, 3 * RATE), ["a"] * 20 + ["b"] * 20)
    known = np.arange(40) != 7
    assert len(set(found[known & (truth == 0)])) == len(set(found[known & (truth == 1)])) == 1
    assert found[0] != found[1] and found[7] == UNKNOWN
