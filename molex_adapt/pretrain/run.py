"""Pretraining of the embedded base: streams, targets, training, and a folder with a half-precision WavLM."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from molex_adapt.atomic import replace_file
from molex_adapt.base import normalise
from molex_adapt.conventions import FRAME_SAMPLES, SAMPLE_RATE
from molex_adapt.data import Table, assign_splits
from molex_adapt.errors import DataError
from molex_adapt.outputs import Kind, check_folder
from molex_adapt.pretrain.corpus import Stream, build_streams
from molex_adapt.pretrain.masked import MaskedPredictor
from molex_adapt.pretrain.targets import Targets, make_targets
from molex_adapt.recipe import PretrainRecipe, dump
from molex_adapt.registry.records import package_versions
from molex_adapt.run import Run
from molex_adapt.schedule import warmup_cosine

_RECIPE = "recipe.yaml"
_MADE = {_RECIPE, "pretraining.json", "config.json", "model.safetensors", "preprocessor_config.json"}
PRETRAINED = Kind(
    "a base that pretrain made", lambda path: {_RECIPE} <= {item.name for item in path.iterdir()} <= _MADE
)


@dataclass(frozen=True)
class Pretrained:
    """The result of pretraining. Accuracies and losses are of the development split."""

    folder: str
    steps: int
    seconds: float
    speech_hours: float
    parameters: int
    masked_accuracy: float
    unmasked_accuracy: float
    regression: float
    loss: float


def pretrain(speech: Table, out: Path, recipe: PretrainRecipe, *, run: Run = Run()) -> Pretrained:
    """Pretrain on the training split of bona fide speech and save the base to `out`.

    Held-out speakers and the test split are not used at all. The development split is for measuring only.

    Raises:
        DataError: too little speech is left, a package is missing, or `out` is a file or holds anything but a base
            that was pretrained here.
    """
    started = time.monotonic()
    check_folder(out, PRETRAINED, [Path(speech.root)])
    streams, training = prepare(speech, recipe, run)
    targets = make_targets(streams, recipe, training, run.progress)
    origin = {"seed": run.seed, "data": speech.digest(), "versions": package_versions()}
    return fit(streams, training, targets, out, recipe, run, started, origin)


def fit(
    streams: list[Stream],
    training: int,
    targets: Targets,
    out: Path,
    recipe: PretrainRecipe,
    run: Run,
    started: float,
    origin: Mapping[str, Any] | None = None,
) -> Pretrained:
    """Fit a base to targets, measure it on the development streams, save it to `out`.

    Args:
        streams: from `prepare`.
        training: how many of them, counted from the first, are trained on.
        targets: of all of them.
        out, recipe, run: as for `pretrain`.
        started: the monotonic clock's seconds at the beginning of what the report's `seconds` count.
        origin: what else pretraining.json is to say about where the base comes from.
    """
    torch.manual_seed(run.seed)
    layers, width = targets.layers[0].shape[1:]
    model = MaskedPredictor(recipe, targets.codebook_sizes, layers, width)
    _optimise(model, streams, targets, training, recipe, run)
    quality = _evaluate(model, streams[training:], targets, training, recipe)
    _save(model, out, recipe)
    report = Pretrained(
        folder=str(out),
        steps=recipe.steps,
        seconds=time.monotonic() - started,
        speech_hours=sum(len(s.wave) for s in streams[:training] if s.condition == "wide")
        / SAMPLE_RATE
        / 3600,
        parameters=sum(weight.numel() for weight in model.base.parameters()),
        **quality,
    )
    written = {**asdict(report), "folder": out.name, **(origin or {})}
    replace_file(out / "pretraining.json", f"{json.dumps(written, indent=2)}\n".encode())
    return report


def save_untrained(out: Path, recipe: PretrainRecipe, seed: int) -> None:
    """The same architecture with random weights, to measure what pretraining is worth."""
    torch.manual_seed(seed)
    _save(MaskedPredictor(recipe, (), 0, 0), out, recipe)


def prepare(speech: Table, recipe: PretrainRecipe, run: Run) -> tuple[list[Stream], int]:
    """Streams of the training split, then those of the development split; and the number of the former."""
    kept = tuple(item for item in speech if item.speaker not in recipe.held_out_speakers)
    split = assign_splits(Table(kept, speech.root), seed=recipe.split_seed, by="source")
    conditions = ["wide"]
    if recipe.band_limited_share > 0:
        conditions.append("narrow")
    if recipe.degraded_share > 0:
        conditions.append("degraded")
    training = build_streams(split.select(split="train"), tuple(conditions), run.seed, run.progress)
    development = build_streams(split.select(split="dev"), ("wide", "narrow"), run.seed + 1, run.progress)
    needed = int(recipe.crop_seconds * SAMPLE_RATE)
    usable = [stream for stream in training if len(stream.wave) > 2 * needed]
    measured = [stream for stream in development if len(stream.wave) > 2 * needed]
    if not usable or not measured:
        raise DataError(
            f"{speech.root}: too little speech for crops of {recipe.crop_seconds} s; add recordings"
        )
    return usable + measured, len(usable)


def _optimise(
    model: MaskedPredictor,
    streams: list[Stream],
    targets: Targets,
    training: int,
    recipe: PretrainRecipe,
    run: Run,
) -> None:
    generator = torch.Generator().manual_seed(run.seed)
    chances = _stream_chances(streams[:training], recipe)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    schedule = warmup_cosine(optimiser, recipe.steps, recipe.warmup)
    run.progress.start("pretrain", recipe.steps)
    for step in range(1, recipe.steps + 1):
        model.train()
        batch = _draw(streams, targets, chances, recipe, generator)
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(*batch, generator)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        run.progress.advance()
        if step % recipe.evaluate_every == 0:
            quality = _evaluate(model, streams[training:], targets, training, recipe)
            run.progress.note(
                f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in quality.items())
            )
    run.progress.stop()


def _stream_chances(streams: list[Stream], recipe: PretrainRecipe) -> Tensor:
    shares = {
        "narrow": recipe.band_limited_share,
        "degraded": recipe.degraded_share,
        "wide": max(0.0, 1 - recipe.band_limited_share - recipe.degraded_share),
    }
    lengths = torch.tensor([float(stream.frames) for stream in streams])
    share = torch.tensor([shares[stream.condition] for stream in streams])
    return lengths * share / (lengths * share).sum()


def _draw(
    streams: list[Stream],
    targets: Targets,
    chances: Tensor,
    recipe: PretrainRecipe,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    picked = torch.multinomial(chances, recipe.batch_size, replacement=True, generator=generator)
    frames = int(recipe.crop_seconds * SAMPLE_RATE) // FRAME_SAMPLES
    crops = []
    for index in picked.tolist():
        start = int(torch.randint(streams[index].frames - frames, (1,), generator=generator))
        crops.append(_crop(streams[index], targets, index, start, frames))
    waves, units, layers = zip(*crops, strict=True)
    return torch.stack(waves), torch.stack(units), torch.stack(layers)


def _crop(
    stream: Stream, targets: Targets, index: int, start: int, frames: int
) -> tuple[Tensor, Tensor, Tensor]:
    wave = stream.wave[start * FRAME_SAMPLES : (start + frames) * FRAME_SAMPLES]
    stop = start + frames
    return (
        torch.from_numpy(normalise(wave)),
        targets.units[index][start:stop],
        targets.layers[index][start:stop].float(),
    )


@torch.no_grad()
def _evaluate(
    model: MaskedPredictor, streams: list[Stream], targets: Targets, offset: int, recipe: PretrainRecipe
) -> dict[str, float]:
    """Losses on a fixed set of crops of the development streams, masks included."""
    model.eval()
    generator = torch.Generator().manual_seed(0)
    frames = int(recipe.crop_seconds * SAMPLE_RATE) // FRAME_SAMPLES
    sums = {"loss": 0.0, "masked_accuracy": 0.0, "unmasked_accuracy": 0.0, "regression": 0.0}
    for index, stream in enumerate(streams):
        starts = np.linspace(0, stream.frames - frames, 12).astype(int)
        crops = [_crop(stream, targets, offset + index, int(start), frames) for start in starts]
        waves, units, layers = zip(*crops, strict=True)
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(torch.stack(waves), torch.stack(units), torch.stack(layers), generator)
        sums["loss"] += float(losses.total) / len(streams)
        sums["masked_accuracy"] += losses.masked_accuracy / len(streams)
        sums["unmasked_accuracy"] += losses.unmasked_accuracy / len(streams)
        sums["regression"] += losses.regression / len(streams)
    return sums


def _save(model: MaskedPredictor, out: Path, recipe: PretrainRecipe) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.base.eval().half().save_pretrained(out)
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=SAMPLE_RATE, do_normalize=True, return_attention_mask=True
    )
    extractor.save_pretrained(out)
    replace_file(out / _RECIPE, dump(recipe).encode())
