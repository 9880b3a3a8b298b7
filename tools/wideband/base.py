r"""Train the wide-band base: distil a teacher into it, post-train it on attacks, measure it on voices it did not hear.

    python -m tools.wideband.base distil data/speech data/forged --out data/base --steps 1400
    python -m tools.wideband.base post-train data/speech data/forged --out data/base --steps 2100 \
        --start data/base/whole_distilled.safetensors
    python -m tools.wideband.base post-train ... --leave-out hifigan --name left_out
    python -m tools.wideband.base measure data/speech data/forged --start data/base/whole_posttrained.safetensors

A stopped run goes on from its checkpoint when the command is repeated. Needs the speech, the forged sets and,
for training, the teacher's two packages. Shapes: B batch, T samples, F frames, L hidden states.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import WavLMConfig

from molex_adapt.errors import DataError
from molex_adapt.metrics import eer
from tools.wideband.checkpoint import Schedule, fit
from tools.wideband.conditions import Conditions
from tools.wideband.corpus import Crops, Store
from tools.wideband.model import TEACHER_BLOCKS, WideBand, load_start, save_base
from tools.wideband.spectra import RATE, LogMel
from tools.wideband.teacher import STRETCH, Teacher

HOP = 320
"""Samples in a frame of base and teacher."""


@dataclass(frozen=True)
class Sizes:
    """Batch, and crops in samples."""

    batch: int = 112
    distil: int = 2 * RATE
    detect: int = 3 * RATE
    shortest: int = (
        24_000  # detection hears crops of several lengths, so that its evidence does not depend on them
    )


class Trainer:
    """A model, its audio and its conditions; each method gives the loss of one step."""

    def __init__(
        self, model: WideBand, store: Store, taught: Tensor, sizes: Sizes, leave_out: str | None = None
    ) -> None:
        """`taught` is (frames of the store, 2, 512), `teacher_states`; `leave_out` names an attack not to train on."""
        self.model, self.store, self.taught, self.sizes = model, store, taught, sizes
        self.device = store.wave.device
        self.conditions = Conditions(self.device)
        self.mel = LogMel(640, HOP).to(self.device)
        self.attacks = sorted(store.spoofed)
        self.trained = [
            name for name in self.attacks if name != leave_out and len(store.spoofed[name]["train"])
        ]
        tables = [store.bona_fide["train"], *(store.spoofed[name]["train"] for name in self.trained)]
        if not self.trained or not len(tables[0]):
            raise DataError(
                "There are no training utterances of both classes. Make speech and forged sets first."
            )
        self.everything = torch.cat(tables)
        self.weights = torch.cat([torch.full((len(table),), 1 / len(table)) for table in tables])
        self.weights = self.weights.to(self.device)

    def distil(self, step: int) -> Tensor:
        """Predict the teacher's states of clean audio from conditioned audio of all sets, equally often."""
        rows = torch.multinomial(self.weights, self.sizes.batch * 3 // 2, replacement=True)
        crops = self.store.draw(self.everything, rows, self.sizes.distil)
        heard = self.conditions(crops.wave, crops.g722)
        mask = draw_mask(len(heard), self.model.frames(self.sizes.distil), 0.05, self.device)
        with half(self.device):
            states = self.model.states(heard, mask)
        teacher, mel = self._predictions(states, heard, crops, mask)
        return teacher + 0.5 * mel

    def post_train(self, step: int) -> Tensor:
        """Detect, with as many bona fide as spoofed rows and every attack equally often; distil in every third step."""
        crops, kind = self._both_classes()
        full = step % 3 == 0
        samples = self.sizes.detect
        heard = self.conditions(crops.wave, crops.g722)
        if not full:  # cut after the conditions, whose rooms need the sound before
            samples = int(torch.randint(min(self.sizes.shortest, samples), samples + 1, ()))
            heard = heard[:, :samples]
        mask = draw_mask(len(heard), self.model.frames(samples), 0.02, self.device)
        with half(self.device):
            states = self.model.states(heard, mask)
        score, kinds = self.model.detect(states)
        truth = (kind == 0).float() * 0.98 + 0.01
        loss = F.binary_cross_entropy_with_logits(score, truth) + 0.3 * F.cross_entropy(kinds, kind)
        if full:
            teacher, mel = self._predictions(states, heard, crops, mask)
            loss = loss + 0.5 * teacher + 0.25 * mel
        return loss

    def _both_classes(self) -> tuple[Crops, Tensor]:
        """Crops, and (B,) 0 for bona fide or an attack's number from 1."""
        half_batch = self.sizes.batch // 2
        share = -(-half_batch // len(self.trained))
        spoofed = [self._some(self.store.spoofed[name]["train"], share) for name in self.trained]
        kinds = [self.attacks.index(name) + 1 for name in self.trained for _ in range(share)]
        joined = spoofed[0]
        for crops in spoofed[1:]:
            joined = joined + crops
        kept = torch.randperm(len(kinds), device=self.device)[:half_batch]
        joined = Crops(**{name: part[kept] for name, part in vars(joined).items()})
        kind = torch.tensor(kinds, device=self.device)[kept]
        both = self._some(self.store.bona_fide["train"], half_batch) + joined
        return both, torch.cat([torch.zeros(half_batch, dtype=torch.long, device=self.device), kind])

    def _some(self, table: Tensor, count: int) -> Crops:
        rows = torch.randint(len(table), (count,), device=self.device)
        return self.store.draw(table, rows, self.sizes.detect)

    def _predictions(
        self, states: tuple[Tensor, ...], heard: Tensor, crops: Crops, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two losses: of the teacher's states in all frames, and of the mel spectrum in those not hidden."""
        frames = mask.shape[1]
        first = ((crops.first + HOP // 2) // HOP).clamp(max=len(self.taught) - frames)
        wanted = self.taught[first[:, None] + torch.arange(frames, device=self.device)].float()
        # A crop of an utterance that repeats is not what the teacher heard.
        weight = torch.where(mask, 1.0, 0.4) * crops.whole[:, None]
        weight = weight / weight.sum().clamp(min=1e-6)
        teacher = torch.zeros((), device=self.device)
        for number, (head, at) in enumerate(zip(self.model.teacher, self.model.taught, strict=True)):
            ours, theirs = head(states[at].float()), wanted[:, :, number]
            apart = F.smooth_l1_loss(ours, theirs, reduction="none", beta=0.5).mean(-1)
            turned = 1 - F.cosine_similarity(ours, theirs, dim=-1)
            teacher = teacher + ((apart + 0.5 * turned) * weight).sum()
        mel = self.mel(heard)[:, :, :frames].transpose(1, 2)
        mel = (mel - mel.mean((1, 2), keepdim=True)) / (mel.std((1, 2), keepdim=True) + 1e-3)
        ours = self.model.mel(states[self.model.heard_at].float())
        apart, seen = F.smooth_l1_loss(ours, mel, reduction="none").mean(-1), (~mask).float()
        return teacher, (apart * seen).sum() / seen.sum().clamp(min=1)


def draw_mask(rows: int, frames: int, probability: float, device: torch.device, length: int = 10) -> Tensor:
    """(rows, frames) bool: spans of `length` frames, each frame beginning one with `probability`."""
    begins = (torch.rand(rows, frames, device=device) < probability).float()
    return F.max_pool1d(F.pad(begins, (length - 1, 0))[:, None], length, 1)[:, 0] > 0


def half(device: torch.device) -> torch.autocast:
    """bfloat16 on a card; float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def teacher_states(wave: Tensor, teacher: Teacher, batch: int) -> Tensor:
    """(N / 320, 2, 512) float16: what the teacher makes of (N,) int16, in stretches of 30 s."""
    padded = F.pad(wave, (0, -len(wave) % STRETCH)).view(-1, STRETCH)
    heard = (teacher(rows.float() / 32768, TEACHER_BLOCKS) for rows in padded.split(batch))
    return torch.cat([states.flatten(0, 1).half() for states in heard])


def ramp(step: int, steps: int, warm: int, lowest: float) -> float:
    """A linear rise over `warm` steps under a cosine that falls to `lowest`."""
    return min(1.0, (step + 1) / warm) * max(lowest, 0.5 * (1 + math.cos(math.pi * step / steps)))


def run_stage(trainer: Trainer, stage: str, schedule: Schedule) -> None:
    """Distil, or post-train with a lower rate for the base than for its heads."""
    model, steps = trainer.model.train(), schedule.steps
    heads = [tensor for name, tensor in model.named_parameters() if not name.startswith("base.")]
    groups = [{"params": list(model.base.parameters())}, {"params": heads}]
    optimiser = torch.optim.AdamW(groups, 0.0, betas=(0.9, 0.98), weight_decay=0.02)
    if stage == "distil":
        fit(
            model,
            optimiser,
            trainer.distil,
            lambda step: [1.2e-3 * ramp(step, steps, 300, 0.1)] * 2,
            schedule,
        )
    else:
        fit(
            model,
            optimiser,
            trainer.post_train,
            lambda step: [rate * ramp(step, steps, 150, 0.02) for rate in (4e-4, 1.5e-3)],
            schedule,
        )


@torch.no_grad()
def measure(model: WideBand, store: Store, samples: int = 3 * RATE) -> dict[str, dict[str, float]]:
    """Scores of dev voices, clean and under drawn conditions.

    Returns:
        Per condition: the EER of every attack as a fraction; `below_train_q05`, the share of bona fide dev utterances
        that score below the 5 % quantile of training voices (0.05 if thresholds travelled).
    """
    model.eval()
    device, report = store.wave.device, {}
    conditions = Conditions(device)

    def scores(table: Tensor, drawn: bool) -> np.ndarray:
        found = []
        for rows in torch.arange(len(table), device=device).split(64):
            crops = store.draw(table, rows, samples)
            wave = conditions(crops.wave, crops.g722) if drawn else conditions.set_level(crops.wave, -26, -26)
            with half(device):
                found.append(model.detect(model.states(wave))[0].float().cpu())
        return torch.cat(found).numpy()

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for name in ("clean", "drawn"):
            torch.manual_seed(7)
            bona_fide = scores(store.bona_fide["dev"], name == "drawn")
            known = scores(_spread(store.bona_fide["train"], 400), name == "drawn")
            report[name] = {"below_train_q05": float((bona_fide < np.quantile(known, 0.05)).mean())}
            for attack, table in store.spoofed.items():
                if len(table["dev"]):
                    report[name][attack] = eer(bona_fide, scores(table["dev"], name == "drawn"))
    model.train()
    return report


def _spread(table: Tensor, count: int) -> Tensor:
    """At most `count` rows from all over a table, whose voices stand together."""
    return table[torch.linspace(0, len(table) - 1, min(count, len(table))).long().to(table.device)]


def main() -> None:
    """Read the command line and run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("distil", "post-train", "measure"))
    parser.add_argument("speech", type=Path, help="speech.npy and speech.json without their suffix")
    parser.add_argument("forged", type=Path, help="folder of forged sets")
    parser.add_argument("--out", type=Path, default=Path("data/base"))
    parser.add_argument("--start", type=Path, help="weight file to continue from or to measure")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=Sizes.batch)
    parser.add_argument("--leave-out", metavar="ATTACK")
    parser.add_argument("--name", help="of what is written; distilled or posttrained by default")
    parser.add_argument("--checkpoint-seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device(options.device)
    store = Store.load(options.speech, options.forged, device)
    config = None
    if options.start is not None and (options.start.parent / "config.json").exists():
        config = WavLMConfig(**json.loads((options.start.parent / "config.json").read_text(encoding="utf-8")))
    model = WideBand(len(store.spoofed), config).to(device)
    if options.start is not None:
        heads = load_start(model, options.start)
    if options.stage == "measure" and (options.start is None or not heads):
        raise DataError("There is no detector to measure. Name a whole_*.safetensors with --start.")
    if options.stage != "measure":
        _train(options, model, store)
    if options.stage != "distil":
        print(json.dumps(measure(model, store), indent=1))


def _train(options: argparse.Namespace, model: WideBand, store: Store) -> None:
    """Train by the command line's options and write the weights."""
    device = store.wave.device
    taught = teacher_states(store.wave, Teacher(device), 16 if device.type == "cuda" else 1)
    trainer = Trainer(model, store, taught, Sizes(options.batch), options.leave_out)
    name = options.name or {"distil": "distilled", "post-train": "posttrained"}[options.stage]
    plan = f"{options.stage} {options.steps} steps of {options.batch}, seed {options.seed}, start {options.start}"
    plan += f", without {options.leave_out}, {len(store.wave)} samples of {', '.join(trainer.attacks)}"
    checkpoint = options.out / f"{name}.checkpoint"
    run_stage(trainer, options.stage, Schedule(options.steps, plan, checkpoint, options.checkpoint_seconds))
    save_base(model, options.out, name)
    checkpoint.unlink()


if __name__ == "__main__":
    main()
