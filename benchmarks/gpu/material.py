"""Bases, mixtures and sounds made here: nothing is read from a network or a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import WavLMConfig, WavLMModel

from benchmarks.forms import LORA
from benchmarks.gpu.setting import Setting
from molex_adapt.base import Base, BaseIdentity
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.mixture import ExpertSpec, Mixture
from molex_adapt.recipe import RouterOptions


def model_of(setting: Setting) -> WavLMModel:
    """Random weights, drawn where they shall lie; dropout and masking off, as all sides are compared."""
    off = dict.fromkeys(("layerdrop", "hidden_dropout", "attention_dropout", "activation_dropout"), 0.0)
    config = WavLMConfig(**(setting.shape | off | {"apply_spec_augment": False}))
    torch.manual_seed(0)
    with torch.device(setting.device):
        model = WavLMModel(config)
    nn.Module.to(model, setting.device)  # the mask's embedding is made on the CPU whatever is said
    return model


def base_of(setting: Setting) -> Base:
    """The frozen base of that shape."""
    return base_from(model_of(setting))


def base_from(model: WavLMModel) -> Base:
    """A model of `model_of` as a frozen base."""
    return Base(model, BaseIdentity("random", "local", "0" * 64), normalised=True)


def waves_of(setting: Setting, count: int) -> Tensor:
    """(count, T) noise of unit variance, as a normalised recording has, on the CPU."""
    return torch.randn(count, setting.samples, generator=torch.Generator().manual_seed(0))


def tables_of(base: Base, count: int) -> dict[str, Any]:
    """Random experts and router rows, stacked on the base's device; smaller mixtures take the first of them."""
    device = next(base.parameters()).device
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    tables = {}
    for name, (a, b) in Mixture(base, LORA, RouterOptions()).tables().items():
        tables[name] = (
            draw(count, LORA.rank, a.shape[-1]) / a.shape[-1] ** 0.5,
            0.02 * draw(count, LORA.rank, b.shape[-1]),
        )
    return {"experts": tables, "rows": [draw(count, base.width + 1) for _ in base.blocks]}


def mixture_of(base: Base, tables: dict[str, Any], count: int, top_k: int | None = None) -> Mixture:
    """The first `count` experts, detached."""
    options = RouterOptions() if top_k is None else RouterOptions(top_k=top_k)
    mixture = Mixture(base, LORA, options).to(next(base.parameters()).device)
    experts_into(mixture, tables, count)
    return mixture.requires_grad_(False).eval()


def experts_into(mixture: Mixture, tables: dict[str, Any], count: int) -> None:
    """The first `count` experts of `tables_of` become those of a mixture that has none."""
    mixture.adopt(
        [ExpertSpec(f"e{at}", LORA.rank, LORA.alpha) for at in range(count)],
        {name: (a[:count], b[:count]) for name, (a, b) in tables["experts"].items()},
        [rows[:count] for rows in tables["rows"]],
    )


def sound(seed: int, seconds: Seconds, buzz: float = 0.0) -> NDArray[np.float32]:
    """Noise in the rhythm of syllables; forged noise buzzes as well. Each seed is another recording."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rhythm = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * time + rng.uniform(0, 6))
    wave = 0.1 * rhythm * np.convolve(rng.standard_normal(len(time)), np.ones(6) / 6, "same")
    return np.asarray(wave + 0.02 * np.sign(np.sin(2 * np.pi * buzz * time)), dtype=np.float32)


def write_domain(folder: Path, count: int, longest: Seconds) -> Path:
    """`count` recordings of each class, of 1 s to `longest`, in the folder layout."""
    for number, place in enumerate(("bonafide", "spoof/buzz")):
        (folder / place).mkdir(parents=True)
        for at in range(count):
            seconds = 1 + (longest - 1) * (at % 7) / 6
            wave = sound(1000 * number + at, seconds, 900.0 if number else 0.0)
            soundfile.write(folder / place / f"{at:04}.wav", wave, SAMPLE_RATE)
    return folder
