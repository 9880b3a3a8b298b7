"""The expert stage against a LoRA by PEFT and transformers' Trainer: same base, clips, batch and LoRA weights.

    python -m benchmarks.training

Each run is a process of its own, so that its peak memory is its own; runs alternate. Clips are decoded beforehand for
both. Ours trains one expert and its router rows inside a mixture of four frozen ones, from prefix features; PEFT trains
the same LoRA weights under the same frozen head, from waveforms. Writes results/training.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks.cost import machine, shape_folder
from benchmarks.forms import ALPHA, RANK, TARGETS
from benchmarks.workbench import RESULTS, WORK
from molex_adapt.base import load_base, normalise
from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.detector import Detector
from molex_adapt.features import Features, source_id
from molex_adapt.head import Head
from molex_adapt.recipe import HeadOptions, Recipe
from molex_adapt.train.loop import fit
from molex_adapt.train.losses import detection_loss
from molex_adapt.train.pools import Pool
from molex_adapt.train.stages import append_expert, expert_stage

SETTINGS = {"embedded": (32, 2.0, 12), "wavlm-base": (8, 4.0, 4)}
"""Per base: clips in a batch, their seconds, measured steps."""
RUNS = {"PEFT fp32": "fp32", "PEFT bf16": "bf16", "ours fp32": "fp32", "ours bf16": "bf16"}


def main() -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bases", nargs="*", default=list(SETTINGS))
    parser.add_argument("--one", nargs=2, metavar=("BASE", "RUN"), help="a single run, in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(*options.one)))
        return
    result: dict[str, Any] = {"machine": machine()}
    for base in options.bases:
        shape_folder(base)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in RUNS}
        for _ in range(options.rounds):
            for name in RUNS:
                command = [sys.executable, "-m", "benchmarks.training", "--one", base, name]
                ran = subprocess.run(command, check=True, capture_output=True, text=True)
                found[name].append(json.loads(ran.stdout.splitlines()[-1]))
        clips, seconds, _ = SETTINGS[base]
        result[base] = {
            "batch": clips,
            "seconds": seconds,
            **{
                name: {key: median(item[key] for item in items) for key in items[0]}
                for name, items in found.items()
            },
        }
        print(base, json.dumps(result[base]), flush=True)
    (RESULTS / "training.json").write_text(json.dumps(result, indent=1) + "\n")


def run(base: str, name: str) -> dict[str, float]:
    """Clips per second and peak memory of one kind of training."""
    torch.manual_seed(0)
    imports = _peak_mib()
    clips, seconds, steps = SETTINGS[base]
    kind, precision = name.split()
    train = _train_ours if kind == "ours" else _train_peft
    took = train(shape_folder(base), precision, clips, seconds, steps)
    return {"clips_per_second": clips * steps / took, "peak_mib": _peak_mib(), "imports_mib": imports}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _waves(count: int, seconds: float) -> Tensor:
    waves = torch.randn(count, int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))
    return torch.stack([torch.from_numpy(normalise(wave.numpy())) for wave in waves])


def _train_ours(folder: Path, precision: str, clips: int, seconds: float, steps: int) -> float:
    recipe = Recipe.model_validate(
        {
            "precision": precision,
            "lora": {"rank": RANK, "alpha": ALPHA},
            "data": {"crop_seconds": seconds},
            "expert": {"steps": 1, "batch_size": clips, "development": 1},
        }
    )
    detector = Detector(load_base(folder), recipe)
    detector.base.compute_in(recipe.precision)
    waves, found = _waves(4 * clips, seconds), []
    for some in waves.split(8):
        features, frames = detector.base.prefix(some, torch.full((len(some),), some.shape[1]))
        found += [clip[:count].half() for clip, count in zip(features, frames.tolist(), strict=True)]
    labels = torch.arange(len(found)) % 2 == 0
    sources = tuple(source_id(str(at)) for at in range(len(found)))
    data = Features(tuple(found), labels, sources, tuple(None if real else "x" for real in labels.tolist()))
    for number, name in enumerate(("old-1", "old-2", "old-3", "old-4", "new")):
        append_expert(detector, name, recipe, number)
    develop = [data.pick([0, 1])]
    fit(detector, expert_stage(detector, "new", [Pool(data, 1.0, 4)], develop, recipe))
    measured = recipe.model_copy(
        update={"expert": recipe.expert.model_copy(update={"steps": steps, "evaluate_every": steps + 1})}
    )
    started = time.perf_counter()
    fit(detector, expert_stage(detector, "new", [Pool(data, 1.0, 4)], develop, measured))
    return time.perf_counter() - started


class _Peer(nn.Module):
    """PEFT's model under our head, as a Trainer wants it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
        for name in ("layerdrop", "hidden_dropout", "attention_dropout", "activation_dropout"):
            setattr(model.config, name, 0.0)
        model.config.apply_spec_augment = False
        self.model = get_peft_model(model, config)
        blocks = model.config.num_hidden_layers + 1
        self.head = Head(model.config.hidden_size, blocks, HeadOptions()).requires_grad_(False)

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


def _train_peft(folder: Path, precision: str, clips: int, seconds: float, steps: int) -> float:
    waves = _waves(4 * clips, seconds)
    rows = [{"input_values": wave, "labels": torch.tensor(at % 2 == 0)} for at, wave in enumerate(waves)]
    arguments = TrainingArguments(
        output_dir=str(WORK / "trainer"),
        per_device_train_batch_size=clips,
        max_steps=steps + 1,
        learning_rate=3e-3,
        bf16=precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )
    clock = _Clock()
    trainer = Trainer(_Peer(folder), arguments, train_dataset=rows, callbacks=[clock])  # type: ignore[arg-type]
    trainer.train()
    return clock.stopped - clock.started


if __name__ == "__main__":
    main()
