"""The shipped wide-band weights load into today's classes, and the parts of the training do what they say."""

from __future__ import annotations

import csv
import inspect
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from molex_adapt import Registry, Run
from molex_adapt.data import Utterance, read
from molex_adapt.errors import DataError
from molex_adapt.shipped import registry_path
from tools.wideband import base, checkpoint, conditions, domains, forging, speech, voices
from tools.wideband.adversarial import Plan, train_vocoder
from tools.wideband.corpus import PARTS, Store, Stretch, read_speech, write_speech
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


@pytest.mark.filterwarnings("ignore:There were no voiced segments")
def test_domains_pair_classes_conditions_and_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(domains, "COPIES", ("lpc",))
    monkeypatch.setattr(domains, "SPOKEN", ())
    monkeypatch.setattr(domains, "PER_GAME_VOICE", {"drascula": 2})
    monkeypatch.setattr(domains, "SHIPPED", ("lpc", "istft"))
    monkeypatch.setattr(domains, "FROM_TEXTS", ("pico",))
    monkeypatch.setattr(domains, "PER_ATTACK_ON_GAMES", {"train": 1, "dev": 2, "test": 0})
    noise = np.random.default_rng(0)
    pieces = [
        (
            (3000 * noise.standard_normal(RATE + 400 * at)).astype(np.int16),
            Stretch(voice, part, 0, 0, "en", at == 0),
        )
        for voice, part in (("a", "train"), ("Carlo", "dev"), ("c13", "dev"), ("z", "test"))
        for at in range(3)
    ]
    write_speech(tmp_path / "speech", pieces)
    played = [(wave, replace(row, voice=f"drascula/{row.voice}")) for wave, row in pieces[:6]]
    write_speech(tmp_path / "games", played)
    monkeypatch.setattr(domains, "HifiGan", lambda path, device: lambda wave: -wave)
    for vocoder in ("Fargan", "Dred"):
        monkeypatch.setattr(domains, vocoder, lambda path: lambda wave: wave[::-1])
    (tmp_path / "spoken").mkdir()
    said = [
        (f"p{at}.wav", "spoof", "pico", f"pico-{part}0", f"t{at}", part, "none")
        for at, part in enumerate(PARTS)
    ]
    domains.write_rows(tmp_path / "spoken" / "pico.csv", said)
    monkeypatch.chdir(tmp_path)  # manifests are read from anywhere
    both = ["domains", "speech", "games", "--per-attack", "3", "2", "2"]
    own = ["--hifigan", "x.npz", "--fargan", "fargan_demo", "--dred", "dred_copy", "--spoken", "spoken"]
    monkeypatch.setattr("sys.argv", [*both, "--out", "out", *own])
    domains.main()
    whole = {
        name: read(tmp_path / "out" / f"{name}.csv")
        for name in ("bonafide", "lpc", "hifigan", "fargan", "dred", "dev")
    }
    with (tmp_path / "out" / "shipped.csv").open() as file:
        shipped = list(csv.DictReader(file))
    assert len(whole["bonafide"]) == 3 + 6 + 2 * 3 + 2 + 2
    assert len(whole["lpc"]) == len(whole["hifigan"]) == 3 + 2 + 2 * 2 + 1 + 2
    tested = [item for item in whole["bonafide"] if item.split == "test"]
    assert sorted({(item.source, item.condition) for item in tested}) == sorted(
        (name, kind) for name in {item.source for item in tested} for kind in ("drawn", "none")
    )
    assert {item.split for item in whole["dred"]} == {"test"}
    assert len(whole["fargan"]) == len(whole["lpc"])
    heard = {row["speaker"]: row["split"] for row in shipped if row["domain"] != "synthesiser"}
    games = {"drascula/a": "train", "drascula/Carlo": "dev"}
    assert heard == {"a": "train", "c13": "test", "Carlo": "dev", **games}
    kinds = {("", ""), ("lpc", ""), ("istft", "neural_vocoder"), ("pico", "synthesiser")}
    assert {(row["attack"], row["domain"]) for row in shipped} == kinds
    assert {row["split"] for row in shipped if row["domain"] == "synthesiser"} == {"train", "test"}
    places = {row["domain"] == "synthesiser": row["path"].split("/")[:-1] for row in shipped}
    assert places[True] == ["..", "spoken"]
    assert all((tmp_path / "out" / row["path"]).is_file() for row in shipped if row["attack"] != "pico")
    assert {item.speaker for item in whole["dev"]} == {"c13", "Carlo", "drascula/Carlo"}
    assert {item.attack for item in whole["dev"]} == {None, "lpc", "istft", "mel_gan", "hifigan", "fargan"}
    assert {item.split for item in whole["dev"]} == {"dev"}

    one = ["domains", "speech", "--attacks", "lpc", "--per-voice", "2", "1", "1", "--out", "one"]
    monkeypatch.setattr("sys.argv", one)
    domains.main()
    spoken_by = Counter((item.speaker, item.split) for item in read(tmp_path / "one" / "bonafide.csv"))
    assert {part: {count for (_, own), count in spoken_by.items() if own == part} for part in PARTS} == {
        "train": {2},
        "dev": {1},
        "test": {2},  # as it is, and under conditions
    }

    few, make = [*both, "--out", str(tmp_path / "few"), "--attacks"], domains.Maker.make

    def cut_off(self, name):
        if name == "cascade":
            raise KeyboardInterrupt
        return make(self, name)

    monkeypatch.setattr("sys.argv", [*few, "lpc", "cascade"])
    with monkeypatch.context() as patch:
        patch.setattr(domains.Maker, "make", cut_off)
        with pytest.raises(KeyboardInterrupt):
            domains.main()
    capsys.readouterr()
    monkeypatch.setattr(domains, "PER_ATTACK_ON_GAMES", {"train": 0, "dev": 0, "test": 0})
    monkeypatch.setattr("sys.argv", [*few, "lpc", "cascade", "splice", "--per-attack", "1", "1", "1"])
    domains.main()
    said = capsys.readouterr().out.splitlines()
    assert said == ["bonafide: there", "lpc: there", "cascade: 4 files", "splice: 4 files"]
    assert not (tmp_path / "few" / "shipped.csv").exists()
    for name in ("bonafide", "lpc"):  # the same beside other sets, and after an interruption
        for path in (tmp_path / "out" / name).iterdir():
            assert path.read_bytes() == (tmp_path / "few" / name / path.name).read_bytes()
    assert {item.source for item in read(tmp_path / "few" / "cascade.csv")} <= {
        item.source for item in whole["bonafide"]
    }
    monkeypatch.setattr("sys.argv", [*few, "hifigan"])  # which has no weights here
    with pytest.raises(SystemExit):
        domains.main()


def test_a_sentence_that_a_voice_says_is_no_recording_of_that_number():
    row = dict.fromkeys(domains.COLUMNS, "") | {"attack": "espeak", "source": "00012"}
    assert domains.columns_of(row)[domains.COLUMNS.index("source")] == "espeak/00012"
    assert domains.columns_of(row | {"attack": "lpc"})[domains.COLUMNS.index("source")] == "00012"


def test_of_sets_of_one_name_the_last_folder_has_the_one_that_counts(tmp_path):
    for folder, names in (("domains", ("lpc", "espeak", "shipped", "dev")), ("spoken", ("espeak", "pico"))):
        (tmp_path / folder).mkdir()
        for name in names:
            paths = [tmp_path / folder / f"{name}_{part}.wav" for part in ("dev", "test")]
            for path in paths:
                path.touch()
            rows = [
                (path.name, "spoof", name, "z", path.stem, path.stem.split("_")[1], "none") for path in paths
            ]
            domains.write_rows(tmp_path / folder / f"{name}.csv", rows)
    found = domains.of_part([tmp_path / "domains", tmp_path / "spoken"], "test")
    assert [str(item.path.relative_to(tmp_path)) for item in found] == [
        "spoken/espeak_test.wav",
        "domains/lpc_test.wav",
        "spoken/pico_test.wav",
    ]


def test_the_table_of_voices_counts_at_the_threshold():
    real = [(Utterance(Path(f"{at}.wav"), "bonafide", speaker="ab"[at % 2]), float(at)) for at in range(10)]
    fake = [(Utterance(Path(f"f{at}.wav"), "spoof", attack="lpc"), at - 8.5) for at in range(10)]
    lines = list(voices.table(real + fake, 3.0))
    assert lines[0] == "10 real recordings, refused 30.0"
    assert lines[1] == "a 40.0 of 5, b 20.0 of 5"
    assert lines[2].startswith("lpc: EER 10.0 [") and lines[2].endswith("accepted 0.0 of 10")
    with pytest.raises(DataError, match="no bona fide"):
        list(voices.table(fake, 3.0))


def test_voices_of_a_part_are_scored_by_condition(
    tmp_path, tiny_folder_of, tiny_recipe, recorded, monkeypatch, capsys
):
    data = recorded(tmp_path / "data", bona_fide=12, buzz=12)
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    registry.add_expert(
        data, accept=True, domain="buzz", recipe=tiny_recipe(), run=Run(workers=1, device="cpu")
    )
    rows = [
        (str(item.path), item.label, item.attack or "", "v", item.path.stem, "test", "none")
        for item in read(data)
    ]
    domains.write_rows(tmp_path / "buzz.csv", rows)
    domains.write_rows(tmp_path / "shipped.csv", rows)
    monkeypatch.setattr("sys.argv", ["voices", str(tmp_path), "--registry", str(tmp_path / "registry")])
    voices.main()
    said = capsys.readouterr().out
    assert "none:\n12 real recordings, refused " in said
    assert "buzz: EER " in said and "of 12" in said
