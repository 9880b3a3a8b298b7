"""Train an own vocoder against discriminators of spectra and of periods.

    python -m tools.wideband.adversarial mel_gan data/speech --out data/vocoder_mel_gan.safetensors --seconds 600

data/speech is what `speech.py` wrote; only voices of its training part are heard. `--start` continues from a
weight file. Shapes: B batch, T samples.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from tools.wideband.corpus import read_speech
from tools.wideband.spectra import LogMel, load_half, save_half
from tools.wideband.vocoders import KINDS, SLOPE

Judgement = tuple[Tensor, list[Tensor]]
"""A map of scores, and the hidden layers that led to it."""


class SpectrumJudge(nn.Module):
    """Convolutions over the real and imaginary part of one STFT. Source: after EnCodec (Défossez et al. 2022)."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        middle = [nn.Conv2d(width, width, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)]
        layers = [nn.Conv2d(2, width, (3, 9), padding=(1, 4)), *middle, nn.Conv2d(width, width, 3, padding=1)]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.out = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Judgement:
        spectrum = torch.stft(
            wave.float(), self.size, self.size // 4, window=self.window, return_complex=True
        )
        return _judge(self, torch.stack([spectrum.real, spectrum.imag], 1).transpose(2, 3))


class PeriodJudge(nn.Module):
    """Convolutions over every `period`-th sample. Source: HiFi-GAN (Kong et al. 2020)."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period, widths = period, (1, 32, 64, 128, 256)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3, 1), padding=(2, 0)))
            for before, after in pairwise(widths)
        )
        self.out = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> Judgement:
        whole = wave.shape[1] // self.period * self.period
        return _judge(self, wave[:, :whole].reshape(len(wave), 1, -1, self.period))


def _judge(judge: SpectrumJudge | PeriodJudge, hidden: Tensor) -> Judgement:
    features = []
    for layer in judge.layers:
        hidden = F.leaky_relu(layer(hidden), SLOPE)
        features.append(hidden)
    return judge.out(hidden), features


class Judges(nn.Module):
    """Three spectra and four periods."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            [*(SpectrumJudge(size) for size in (2048, 1024, 512)), *(PeriodJudge(n) for n in (2, 3, 5, 7))]
        )

    def forward(self, wave: Tensor) -> list[Judgement]:
        return [judge(wave) for judge in self.judges]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    seconds: float
    batch: int = 16
    crop: int = 15_360  # samples: a multiple of every vocoder's hop
    rate: float = 5e-4
    alone: float = 0.2  # the first share of the time, in which no judge is heard
    seed: int = 0


def train_vocoder(
    kind: str, wave: Tensor, plan: Plan, start: Path | None = None
) -> tuple[nn.Module, int, float]:
    """Train on the device of `wave`.

    Args:
        kind: a key of `KINDS`.
        wave: (T,) int16, the training voices' speech end to end.
        plan: time, batch and rates.
        start: a weight file of this kind to continue from.

    Returns:
        The vocoder, its steps, and the last mean distance of log-mel spectra.
    """
    torch.manual_seed(plan.seed)
    vocoder, judges = KINDS[kind]().to(wave.device), Judges().to(wave.device)
    if start is not None:
        load_half(vocoder, start)
    mels = nn.ModuleList(LogMel(n, n // 4, m) for n, m in ((2048, 128), (1024, 80), (512, 40), (256, 20)))
    mels.to(wave.device)
    makers = torch.optim.AdamW(vocoder.parameters(), plan.rate, betas=(0.8, 0.99))
    critics = torch.optim.AdamW(judges.parameters(), 0.6 * plan.rate, betas=(0.8, 0.99))
    begun, step, distance = time.monotonic(), 0, math.nan
    while (spent := (time.monotonic() - begun) / plan.seconds) < 1:
        rate = plan.rate * max(0.05, 0.5 * (1 + math.cos(math.pi * spent)))
        for optimiser, factor in ((makers, 1.0), (critics, 0.6)):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        real = _draw(wave, plan)
        with _half(wave.device):
            copy = vocoder(real).float()
        apart = torch.stack([(mel(real) - mel(copy)).abs().mean() for mel in mels]).mean()
        loss = 15 * apart + (vocoder.loss if kind == "codec" else 0.0)
        if spent > plan.alone:
            _teach(judges, critics, real, copy.detach())
            loss = loss + _heard(judges, real, copy)
        makers.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vocoder.parameters(), 5.0)
        makers.step()
        step += 1
        if step % 100 == 0:  # reading a figure waits for the device
            distance = float(apart.detach())
            print(f"{kind} step {step}, {spent:.0%} of the time, log-mel distance {distance:.3f}", flush=True)
    return vocoder, step, distance


def _draw(wave: Tensor, plan: Plan) -> Tensor:
    """(B, T) crops at random levels, -30 to -16 dB, without clipping."""
    first = torch.randint(len(wave) - plan.crop, (plan.batch, 1), device=wave.device)
    crops = wave[first + torch.arange(plan.crop, device=wave.device)].float() / 32768
    level = 10 ** (-(torch.rand(plan.batch, 1, device=wave.device) * 14 + 16) / 20)
    crops = crops * (level / (crops.square().mean(1, keepdim=True).sqrt() + 1e-3))
    return crops / crops.abs().amax(1, keepdim=True).clamp(min=1)


def _half(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _teach(judges: Judges, critics: torch.optim.Optimizer, real: Tensor, copy: Tensor) -> None:
    """One step of the judges with the hinge loss."""
    with _half(real.device):
        pairs = list(zip(judges(real), judges(copy), strict=True))
    terms = [F.relu(1 - a.float()).mean() + F.relu(1 + b.float()).mean() for (a, _), (b, _) in pairs]
    critics.zero_grad(set_to_none=True)
    torch.stack(terms).mean().backward()
    nn.utils.clip_grad_norm_(judges.parameters(), 10.0)
    critics.step()


def _heard(judges: Judges, real: Tensor, copy: Tensor) -> Tensor:
    """The vocoder's loss before the judges: their scores, and the distance of their hidden layers (scalar)."""
    judges.requires_grad_(False)
    with _half(real.device):
        heard = judges(copy)
        with torch.no_grad():
            truth = judges(real)
    judges.requires_grad_(True)
    scores = torch.stack([-score.float().mean() for score, _ in heard]).mean()
    gaps = [
        (left - right).abs().float().mean()
        for (_, ours), (_, theirs) in zip(heard, truth, strict=True)
        for left, right in zip(ours, theirs, strict=True)
    ]
    return scores + 2 * torch.stack(gaps).sum() / len(heard)


def main() -> None:
    """Read the command line and train one vocoder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("speech", type=Path, help="speech.npy and speech.json without their suffix")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # every batch has one shape
    wave, rows = read_speech(options.speech)
    train = torch.cat([wave[row.offset :][: row.length] for row in rows if row.part == "train"])
    # A started vocoder is past the point where judges only hear noise.
    plan = Plan(options.seconds, options.batch, alone=0.02 if options.start else 0.2)
    vocoder, steps, distance = train_vocoder(options.kind, train.to(options.device), plan, options.start)
    about = {"kind": options.kind, "steps": steps, "seconds": options.seconds, "mel_l1": round(distance, 4)}
    save_half(vocoder, options.out, {name: str(value) for name, value in about.items()})


if __name__ == "__main__":
    main()
