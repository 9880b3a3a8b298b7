from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from molex_adapt.base import load_base
from molex_adapt.data import Table, assign_splits
from molex_adapt.errors import DataError
from molex_adapt.pretrain import corpus
from molex_adapt.pretrain.run import pretrain
from molex_adapt.recipe import PretrainRecipe, load
from molex_adapt.run import Run
from molex_adapt.simulate import prompts

TINY = PretrainRecipe(
    hidden=32,
    blocks=2,
    heads=2,
    ffn=64,
    conv_channels=8,
    units=6,
    crop_seconds=0.5,
    batch_size=2,
    steps=3,
    evaluate_every=2,
    held_out_speakers=("june",),
    degraded_share=0.2,
)


@pytest.fixture(scope="module")
def speech(sound, tmp_path_factory) -> Table:
    folder = tmp_path_factory.mktemp("speech")
    for number, voice in enumerate(("ann", "bob", "june")):
        (folder / voice).mkdir()
        for at in range(14):
            soundfile.write(folder / voice / f"{at:02}.wav", sound(100 * number + at, 0.9), 16_000)
    return prompts(folder)


def test_a_base_that_never_heard_the_held_out(speech, tmp_path, monkeypatch):
    heard: list[Path] = []
    decode = corpus.decode
    monkeypatch.setattr(corpus, "decode", lambda path: heard.append(path) or decode(path))
    report = pretrain(speech, tmp_path / "base", TINY, run=Run(seed=1))
    kept = Table(tuple(item for item in speech if item.speaker != "june"), speech.root)
    split = assign_splits(kept, seed=TINY.split_seed, by="source")
    assert len(split.select(split="test")) > 0
    assert set(heard) == {item.path for item in split if item.split in ("train", "dev")}
    assert not any("june" in str(path) for path in heard)

    stored = load_file(tmp_path / "base" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    base = load_base(tmp_path / "base")
    assert (base.width, len(base.blocks), base.exact_padding, base.normalised) == (32, 2, True, True)
    assert load(PretrainRecipe, tmp_path / "base" / "recipe.yaml") == TINY
    written = json.loads((tmp_path / "base" / "pretraining.json").read_text())
    assert (written["folder"], written["steps"], report.steps) == ("base", 3, 3)
    assert report.parameters == sum(weight.numel() for weight in base.model.parameters())
    assert 0 < report.speech_hours < 0.01
    # What is left is 20 ms a step, as all of the package expects.
    assert base.frames(torch.tensor([16_000])).item() in (49, 50)


def test_the_seed_decides_to_the_byte(speech, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        torch.manual_seed(len(name))
        pretrain(speech, tmp_path / name, TINY, run=Run(seed=seed))
    one, again, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again", "other")
    )
    assert one == again != other


def test_too_little_speech_and_a_file_in_the_way(speech, tmp_path):
    few = Table(speech.utterances[:6], "few/")
    with pytest.raises(DataError, match="few/: too little speech for crops of 0.5 s"):
        pretrain(few, tmp_path / "base", TINY)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; expected a folder for a base"):
        pretrain(speech, tmp_path / "file", TINY)


def test_only_a_base_that_was_pretrained_gives_way(speech, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wavlm"}')
    with pytest.raises(DataError, match="it holds config.json. and is not a base that pretrain made"):
        pretrain(speech, tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    (tmp_path / "config.json").unlink()
    for _ in range(2):
        assert pretrain(speech, tmp_path, TINY).folder == str(tmp_path)
    assert (tmp_path / "pretraining.json").is_file()
