"""The expert stage against a LoRA by PEFT and transformers' Trainer: same shape, clips, batch and LoRA weights.

Ours trains one expert and its router rows inside a mixture of four frozen ones, from prefix features; PEFT trains the
same LoRA weights under the same frozen head, from waveforms. Runs alternate; each prepares its own model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks.forms import LORA, lora_config
from benchmarks.gpu.material import base_of, model_of, waves_of
from benchmarks.gpu.setting import Findings, Setting
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.detector import Detector
from molex_adapt.features import Features, source_id
from molex_adapt.head import Head
from molex_adapt.recipe import HeadOptions, Recipe
from molex_adapt.train import stages
from molex_adapt.train.loop import fit
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.pools import Pool
from molex_adapt.train.stages import append_expert, expert_stage

WARM = 3
"""Steps before the clock starts."""


def run(setting: Setting, found: Findings) -> None:
    """Clips per second and peak memory of both, in float32 and bfloat16."""
    steps, rounds = (2, 1) if setting.tiny else (20, 3)
    kinds: dict[str, Callable[[Setting, str, int], Seconds]] = {"PEFT and Trainer": _peft, "ours": _ours}
    for precision in ("fp32", "bf16"):
        rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        with found.attempt(precision):
            for turn in range(rounds):
                if turn and setting.left() < 15:
                    found.say("time is short: fewer rounds")
                    break
                for kind, train in kinds.items():
                    setting.tidy()
                    seconds = train(setting, precision, steps)
                    rate = setting.clips * steps / seconds
                    rows[kind].append({"clips_per_second": rate, "peak_mib": setting.peak_mib()})
                    found.say(f"{precision}, {kind}: {rate:.1f} clips/s, peak {setting.peak_mib()} MiB")
            found.add(precision, _summary(setting, steps, rows))


def _summary(setting: Setting, steps: int, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    rates = {kind: [row["clips_per_second"] for row in found] for kind, found in rows.items()}
    return {
        "batch": setting.clips,
        "seconds": setting.samples / SAMPLE_RATE,
        "steps": steps,
        "ours_over_peft": median(
            own / theirs for own, theirs in zip(rates["ours"], rates["PEFT and Trainer"], strict=True)
        ),
        **{
            kind: {"clips_per_second": median(rates[kind]), "peak_mib": found[-1]["peak_mib"]}
            for kind, found in rows.items()
        },
    }


def _ours(setting: Setting, precision: str, steps: int) -> Seconds:
    seconds = setting.samples / SAMPLE_RATE
    recipe = Recipe.model_validate(
        {
            "precision": precision,
            "lora": LORA.model_dump(),
            "data": {"crop_seconds": seconds},
            "training": {"batch_size": setting.clips},
        }
    )
    detector = Detector(base_of(setting), recipe).to(setting.device)
    detector.base.compute_in(recipe.precision)
    data = _features(setting, detector)
    for number, name in enumerate(("old-1", "old-2", "old-3", "old-4", "new")):
        append_expert(detector, name, recipe, number)
    taken = 0.0
    for count in (WARM, steps):
        options = recipe.expert.model_copy(update={"steps": count, "evaluate_every": count + 1})
        own = recipe.model_copy(update={"expert": options})
        with patch.object(stages, "SHORTEST_CROP", 1.0):  # the peer hears whole clips as well
            stage = expert_stage(detector, "new", [Pool(data, 1.0, 4)], data.pick([0, 1]), own)
        setting.wait()
        started = time.perf_counter()
        fit(detector, stage)
        setting.wait()
        taken = time.perf_counter() - started
    return taken


def _features(setting: Setting, detector: Detector) -> Features:
    """Prefix features of two batches, as `extract` keeps them."""
    clips: list[Tensor] = []
    for waves in waves_of(setting, 2 * setting.clips).split(8):
        lengths = torch.full((len(waves),), waves.shape[1])
        features, frames = detector.base.prefix(waves.to(setting.device), lengths)
        clips += [clip[:count].half().cpu() for clip, count in zip(features, frames.tolist(), strict=True)]
    labels = torch.arange(len(clips)) % 2 == 0
    sources = tuple(source_id(str(at)) for at in range(len(clips)))
    return Features(tuple(clips), labels, sources, tuple(None if real else "x" for real in labels.tolist()))


class _Peer(nn.Module):
    """PEFT's model under our head, as a Trainer wants it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        model: Any = model_of(setting)
        self.model = get_peft_model(model, lora_config(LORA, random=False))
        width, blocks = model.config.hidden_size, model.config.num_hidden_layers
        self.head = Head(width, blocks + 1, HeadOptions()).requires_grad_(False).to(setting.device)

    def forward(self, input_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        states = self.model(input_values, output_hidden_states=True).hidden_states
        mask = torch.ones(states[0].shape[:2], dtype=torch.bool, device=input_values.device)
        logit = self.head(list(states), mask)
        return {"loss": detection_loss(logit.float(), labels.float()), "logits": logit}


class _Clock(TrainerCallback):
    """Starts after the first steps, which reserve memory, and stops after the last."""

    def __init__(self, setting: Setting, last: int) -> None:
        self.setting, self.last = setting, last
        self.started = self.taken = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (WARM, self.last):
            self.setting.wait()
            now = time.perf_counter()
            self.started, self.taken = now, now - self.started


def _peft(setting: Setting, precision: str, steps: int) -> Seconds:
    waves = waves_of(setting, 2 * setting.clips)
    rows = [{"input_values": wave, "labels": torch.tensor(at % 2 == 0)} for at, wave in enumerate(waves)]
    clock = _Clock(setting, WARM + steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=setting.clips,
            max_steps=WARM + steps,
            learning_rate=3e-3,
            bf16=precision == "bf16",
            use_cpu=setting.device.type == "cpu",
            save_strategy="no",
            report_to=[],
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(_Peer(setting), arguments, train_dataset=rows, callbacks=[clock])
        trainer.train()
    return clock.taken
