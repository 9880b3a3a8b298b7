"""What measurements share: where they work, bases of any shape, turns, bare detectors, features made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

from molex_adapt.atomic import replacing
from molex_adapt.base import load_base
from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data import Table
from molex_adapt.detector import Detector
from molex_adapt.features import Features, extract, source_id, states_of, take_id
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run

WORK = Path("work")
SHAPES: dict[str, dict[str, Any]] = {
    "wavlm-base": {},
    "wavlm-large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
}

Candidate = Callable[[], object]


def shape_folder(shape: str) -> Path:
    """The embedded base, or a base of that shape with random weights, made once."""
    if shape == "embedded":
        return Path("registry/base")
    folder = WORK / "shapes" / shape
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        WavLMModel(WavLMConfig(**SHAPES[shape])).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=shape != "wavlm-base").save_pretrained(folder)
    return folder


def in_turns(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def detector_on(base: Path, recipe: Recipe, seed: int = 0) -> Detector:
    """A detector without experts, computing as the recipe says; the seed decides its untrained head."""
    torch.manual_seed(seed)
    detector = Detector(load_base(base), recipe)
    detector.base.compute_in(recipe.precision)
    for module in list(detector.base.modules()):  # frozen: computed once
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return detector


def features_of(detector: Detector, name: str, table: Table, run: Run, folder: Path) -> Features:
    """All features of a whole table that are computed in advance, kept in `folder`."""
    kind = f"{detector.base.identity.sha256[:12]}-{detector.heard}"
    kept = folder / kind / f"{name}-{table.digest()[:12]}.safetensors"
    if kept.exists():
        arrays = load_file(kept)
        return Features(
            tuple(torch.split(arrays["frames"], arrays["lengths"].tolist())),
            torch.tensor([item.label == BONA_FIDE for item in table]),
            tuple(source_id(item.source) for item in table),
            tuple(item.attack for item in table),
            arrays.get("statistics"),
            arrays.get("states"),
            tuple(map(take_id, table)),
        )
    features, failed = extract(detector, table, run)
    if failed:
        raise SystemExit(f"{name}: {len(failed)} recordings failed, first {failed[0]}")
    lengths = torch.tensor([len(clip) for clip in features.clips])
    found = {"frames": torch.cat(list(features.clips)), "lengths": lengths}
    if (
        statistics := features.statistics
    ) is not None:  # for a readout, which reads the frozen base's states too
        states = states_of(detector, features)
        features = replace(features, states=states)
        found |= {"statistics": statistics, "states": states}
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept, durable=False) as partial:
        save_file(found, partial)
    return features
