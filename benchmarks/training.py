"""The expert stage against a LoRA by PEFT and transformers' Trainer: same base, clips, batch and LoRA weights.

Each run is a process of its own, so that its peak memory is its own. Clips are decoded beforehand for both. Ours trains
one expert and its router rows inside a mixture of frozen ones, from prefix features; PEFT trains the same LoRA
weights under the same frozen head, from waveforms. A cell is a shape of base, whose training, and a precision.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import AutoModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks.forms import lora_config
from benchmarks.plan import Cell, Plan
from benchmarks.workbench import WORK, shape_folder
from molex_adapt.base import load_base, normalise
from molex_adapt.conventions import SAMPLE_RATE, Seconds
from molex_adapt.detector import Detector
from molex_adapt.features import Features, source_id
from molex_adapt.head import Head
from molex_adapt.recipe import Options, Recipe, dump, load
from molex_adapt.train import stages
from molex_adapt.train.loop import fit
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.pools import Pool
from molex_adapt.train.stages import append_expert, expert_stage


class Settings(Options):
    """How it is measured; per base, clips in a batch, their seconds, measured steps."""

    rounds: int = 3
    old_experts: int = 4
    bases: dict[str, tuple[int, Seconds, int]]


def measure(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Clips per second and peak memory; each run is a process of its own, and runs of a base alternate."""
    copy = WORK / "training.yaml"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(dump(plan))
    for base in dict.fromkeys(cell.method for cell in cells):
        shape_folder(base)
        own = [cell for cell in cells if cell.method == base]
        found: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in own}
        for _ in range(plan.settings_as(Settings).rounds):
            for cell in own:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.training",
                    str(copy),
                    base,
                    *map(str, cell.arguments),
                ]
                ran = subprocess.run(command, check=True, capture_output=True, text=True)
                found[cell].append(json.loads(ran.stdout.splitlines()[-1]))
        for cell, runs in found.items():
            yield cell, {key: median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    """One run, in this process: PLAN BASE KIND PRECISION."""
    path, base, kind, precision = sys.argv[1:]
    plan = load(Plan, path)
    print(json.dumps(_run(plan.settings_as(Settings), plan.resolved(""), base, kind, precision)))


def _run(settings: Settings, recipe: Recipe, base: str, kind: str, precision: str) -> dict[str, float]:
    torch.manual_seed(0)
    imports = _peak_mib()
    clips, seconds, steps = settings.bases[base]
    data = recipe.data.model_copy(update={"crop_seconds": seconds})
    changed = {
        "data": data,
        "training": recipe.training.model_copy(update={"batch_size": clips}),
        "expert": recipe.expert.model_copy(update={"steps": steps}),
        "precision": precision,
    }
    recipe = recipe.model_copy(update=changed)
    train = _train_ours if kind == "ours" else _train_peft
    took = train(shape_folder(base), recipe, settings.old_experts)
    return {"clips_per_second": clips * steps / took, "peak_mib": _peak_mib(), "imports_mib": imports}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _waves(count: int, seconds: float) -> Tensor:
    waves = torch.randn(count, int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))
    return torch.stack([torch.from_numpy(normalise(wave.numpy())) for wave in waves])


def _train_ours(folder: Path, recipe: Recipe, old: int) -> float:
    options = recipe.expert
    detector = Detector(load_base(folder), recipe)
    detector.base.compute_in(recipe.precision)
    waves, found = _waves(4 * recipe.training.batch_size, recipe.data.crop_seconds), []
    for some in waves.split(8):
        features, frames = detector.base.prefix(some, torch.full((len(some),), some.shape[1]))
        found += [clip[:count].half() for clip, count in zip(features, frames.tolist(), strict=True)]
    labels = torch.arange(len(found)) % 2 == 0
    sources = tuple(source_id(str(at)) for at in range(len(found)))
    data = Features(tuple(found), labels, sources, tuple(None if real else "x" for real in labels.tolist()))
    for number, name in enumerate((*(f"old-{at}" for at in range(old)), "new")):
        append_expert(detector, name, recipe, number)
    took = 0.0
    for steps in (1, options.steps):  # the first allocates
        changed = options.model_copy(update={"steps": steps, "evaluate_every": options.steps + 1})
        own = recipe.model_copy(update={"expert": changed})
        with patch.object(stages, "SHORTEST_CROP", 1.0):  # the peer hears whole clips as well
            stage = expert_stage(detector, "new", [Pool(data, 1.0, old)], data.pick([0, 1]), own)
        started = time.perf_counter()
        fit(detector, stage)
        took = time.perf_counter() - started
    return took


class _Peer(nn.Module):
    """PEFT's model under our head, as a Trainer wants it."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        super().__init__()
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
        for name in ("layerdrop", "hidden_dropout", "attention_dropout", "activation_dropout"):
            setattr(model.config, name, 0.0)
        model.config.apply_spec_augment = False
        self.model = get_peft_model(model, lora_config(recipe.lora, random=False))
        blocks = model.config.num_hidden_layers + 1
        self.head = Head(model.config.hidden_size, blocks, recipe.head, relative=False).requires_grad_(False)

    def forward(self, input_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        states = self.model(input_values, output_hidden_states=True).hidden_states
        mask = torch.ones(states[0].shape[:2], dtype=torch.bool)
        logit = self.head(list(states), mask)
        return {"loss": detection_loss(logit.float(), labels.float()), "logits": logit}


class _Clock(TrainerCallback):
    """Starts after the first step, which allocates."""

    started = stopped = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.started = time.perf_counter()
        self.stopped = time.perf_counter()


def _train_peft(folder: Path, recipe: Recipe, old: int) -> float:
    options = recipe.expert
    waves = _waves(4 * recipe.training.batch_size, recipe.data.crop_seconds)
    rows = [{"input_values": wave, "labels": torch.tensor(at % 2 == 0)} for at, wave in enumerate(waves)]
    arguments = TrainingArguments(
        output_dir=str(WORK / "trainer"),
        per_device_train_batch_size=recipe.training.batch_size,
        max_steps=options.steps + 1,
        learning_rate=options.learning_rate,
        bf16=recipe.precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )
    clock = _Clock()
    trainer = Trainer(_Peer(folder, recipe), arguments, train_dataset=rows, callbacks=[clock])
    trainer.train()
    return clock.stopped - clock.started


if __name__ == "__main__":
    main()
