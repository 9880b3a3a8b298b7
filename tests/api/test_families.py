"""The whole way on families whose feed-forward has other names: from an empty registry to scores."""

from __future__ import annotations

import json

import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.recipe import Recipe, dump, load

RUN = Run(workers=1, device="cpu")
FEED_FORWARDS = {
    "whisper": ("fc1", "fc2"),
    "wav2vec2-bert": tuple(f"ffn{at}.{name}_dense" for at in (1, 2) for name in ("intermediate", "output")),
}


def test_only_the_encoder_of_whisper_is_embedded(tiny_folder_of, tmp_path):
    whisper = Registry.create(tmp_path / "whisper", str(tiny_folder_of("whisper")))
    weights = whisper.store.base_folder / "model.safetensors"
    assert weights.stat().st_size < (tiny_folder_of("whisper") / "model.safetensors").stat().st_size / 2
    assert json.loads((whisper.store.base_folder / "config.json").read_text())["model_type"] == "whisper"


@pytest.mark.parametrize("kind", FEED_FORWARDS)
def test_a_registry_learns_scores_and_verifies(made, tiny_folder_of, tiny_recipe, tmp_path, kind):
    registry = Registry.create(tmp_path / kind, str(tiny_folder_of(kind)))
    recipe = tiny_recipe(gate={"tolerance": 1.0}, router_stage={"steps": 2})
    registry.train(made.buzz, domain="buzz", experts=2, recipe=recipe, run=RUN)
    # A recipe that was written out states the default targets; they mean the base's own.
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    stated = load(Recipe, tmp_path / "recipe.yaml")
    report = registry.add_expert(made.hum, accept=True, domain="hum", recipe=stated, run=RUN)
    assert report.activated and set(report.after) == {"buzz", "hum"}
    registry.retrain_router(made.both, recipe=recipe, run=RUN)
    for expert in registry.store.experts():
        assert tuple(expert.targets) == FEED_FORWARDS[kind]
        config = json.loads((registry.store.expert_folder(expert.name) / "adapter_config.json").read_text())
        assert config["target_modules"] == list(FEED_FORWARDS[kind])
    again = Registry.open(registry.store.path)
    assert again.store.verify() == []
    scored = again.score(made.hum, run=RUN)
    assert not scored.failed and len(scored.scores) == 24
    detector = again.detector(run=RUN)
    assert detector.recipe.lora.targets == FEED_FORWARDS[kind]
    wave = torch.randn(2, 16_000)
    together = detector.score(wave, torch.tensor([16_000, 9_000]))
    torch.testing.assert_close(
        together[1:], detector.score(wave[1:, :9_000], torch.tensor([9_000])), atol=1e-5, rtol=0
    )
