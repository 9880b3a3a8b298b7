"""The whole way on another family of bases: from an empty registry to scores, and an expert that travels."""

from __future__ import annotations

import json

import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.recipe import FEED_FORWARD_OF_WHISPER, Recipe, dump, load

RUN = Run(workers=1, device="cpu")


@pytest.fixture
def whisper(tmp_path, tiny_folder_of) -> Registry:
    return Registry.create(tmp_path / "whisper", str(tiny_folder_of("whisper")))


def test_only_the_encoder_is_embedded(whisper, tiny_folder_of):
    weights = whisper.store.base_folder / "model.safetensors"
    assert weights.stat().st_size < (tiny_folder_of("whisper") / "model.safetensors").stat().st_size / 2
    assert json.loads((whisper.store.base_folder / "config.json").read_text())["model_type"] == "whisper"


def test_a_registry_learns_scores_and_verifies(whisper, made, tiny_recipe, tmp_path):
    recipe = tiny_recipe(gate={"tolerance": 1.0}, router_stage={"steps": 2})
    whisper.train(made.buzz, domain="buzz", experts=2, recipe=recipe, run=RUN)
    # A recipe that was written out states the default targets; they mean Whisper's own.
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    stated = load(Recipe, tmp_path / "recipe.yaml")
    report = whisper.add_expert(made.hum, accept=True, domain="hum", recipe=stated, run=RUN)
    assert report.activated and set(report.after) == {"buzz", "hum"}
    whisper.retrain_router(made.both, recipe=recipe, run=RUN)
    for expert in whisper.store.experts():
        assert tuple(expert.targets) == FEED_FORWARD_OF_WHISPER
        config = json.loads((whisper.store.expert_folder(expert.name) / "adapter_config.json").read_text())
        assert config["target_modules"] == ["fc1", "fc2"]
    again = Registry.open(whisper.store.path)
    assert again.store.verify() == []
    scored = again.score(made.hum, run=RUN)
    assert not scored.failed and len(scored.scores) == 24
    detector = again.detector(run=RUN)
    assert detector.recipe.lora.targets == FEED_FORWARD_OF_WHISPER
    wave = torch.randn(2, 16_000)
    together = detector.score(wave, torch.tensor([16_000, 9_000]))
    torch.testing.assert_close(
        together[1:], detector.score(wave[1:, :9_000], torch.tensor([9_000])), atol=1e-5, rtol=0
    )
