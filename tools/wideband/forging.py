r"""Forge copies of the speech on a device: HiFi-GAN, Griffin-Lim and own vocoders. Copies keep length and level.

    python -m tools.wideband.forging data/speech --out data/forged --hifigan hifigan.npz \
        --vocoder tools/wideband/weights/vocoder_istft.safetensors tools/wideband/weights/vocoder_mel_gan.safetensors

Writes one set per attack; dev voices are copied whole, of the others a random share. Shapes: B batch, T samples at
16 kHz.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tools.wideband.corpus import Stretch, read_speech, write_speech
from tools.wideband.spectra import RATE, LogMel, mel_filters, pad_to_multiple, resample_by_fft
from tools.wideband.vocoders import load_vocoder

Forge = Callable[[Tensor], Tensor]
"""(B, T) float32 in [-1, 1] to (B, about T); T a multiple of `STEP`."""
STEP = 1280
"""Samples: a multiple of every own vocoder's hop."""


class HifiGan:
    """A HiFi-GAN generator from a plain weight file: 22.05 kHz, 80 mel bands to 8 kHz, 46 ms by 12 ms.

    The file holds float arrays under the names of the original generator with weight norm folded in, of any width.
    Source: Kong et al. 2020, configuration with kernels 3, 7, 11 and rates 8, 8, 2, 2.
    """

    rates, kernels, dilations = (8, 8, 2, 2), (3, 7, 11), (1, 3, 5)

    def __init__(self, path: Path, device: torch.device) -> None:
        with np.load(path) as arrays:
            self.weights = {
                name: torch.from_numpy(arrays[name].astype(np.float32)).to(device) for name in arrays.files
            }
        self.mel = LogMel(1024, 256, 80, 22_050, 8000).to(device)

    def __call__(self, wave: Tensor) -> Tensor:
        """(B, T) to its copy, (B, T)."""
        samples = wave.shape[1]
        wave = pad_to_multiple(wave, 320)
        faster = resample_by_fft(wave, 441, 320)
        copy = self.vocode(self.mel(pad_to_multiple(faster, 256)))[:, : faster.shape[1]]
        return resample_by_fft(copy, 320, 441)[:, :samples]

    def vocode(self, mel: Tensor) -> Tensor:
        """(B, 80, F) to (B, 256 F) at 22.05 kHz."""
        hidden = self._convolve("conv_pre", mel, 7)
        for block, rate in enumerate(self.rates):
            weight, bias = self.weights[f"ups.{block}.weight"], self.weights[f"ups.{block}.bias"]
            pad = (weight.shape[2] - rate) // 2
            hidden = F.conv_transpose1d(F.leaky_relu(hidden, 0.1), weight, bias, stride=rate, padding=pad)
            branches = [
                self._residual(f"resblocks.{len(self.kernels) * block + number}", hidden, kernel)
                for number, kernel in enumerate(self.kernels)
            ]
            hidden = torch.stack(branches).mean(0)
        return torch.tanh(self._convolve("conv_post", F.leaky_relu(hidden, 0.01), 7))[:, 0]

    def _residual(self, name: str, hidden: Tensor, kernel: int) -> Tensor:
        for layer, dilation in enumerate(self.dilations):
            inner = self._convolve(f"{name}.convs1.{layer}", F.leaky_relu(hidden, 0.1), kernel, dilation)
            hidden = hidden + self._convolve(f"{name}.convs2.{layer}", F.leaky_relu(inner, 0.1), kernel)
        return hidden

    def _convolve(self, name: str, hidden: Tensor, kernel: int, dilation: int = 1) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.conv1d(hidden, weight, bias, padding=dilation * (kernel - 1) // 2, dilation=dilation)


def griffin_lim(
    wave: Tensor, size: int, rounds: int, momentum: float, filters: Tensor | None = None
) -> Tensor:
    """Keep the magnitudes and estimate the phases anew.

    Args:
        wave: (B, T).
        size: samples of a frame; the hop is a quarter of it.
        rounds: of the estimate.
        momentum: 0 for the original algorithm, to 1 for the fast one.
        filters: (bands, size / 2 + 1); where given, the magnitudes are those that the mel spectrum tells.

    Returns:
        (B, T).

    Source: Griffin and Lim 1984; Perraudin et al. 2013.
    """
    hop, window, samples = size // 4, torch.hann_window(size, device=wave.device), wave.shape[1]

    def analyse(sound: Tensor) -> Tensor:
        return torch.stft(sound, size, hop, window=window, return_complex=True)

    def synthesise(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, size, hop, window=window, length=samples)

    magnitude = analyse(wave).abs()
    if filters is not None:
        magnitude = (torch.linalg.pinv(filters) @ (filters @ magnitude)).clamp(min=1e-5)
    angle = torch.rand_like(magnitude) * 2 * math.pi
    phase = torch.complex(torch.cos(angle), torch.sin(angle))
    before = torch.zeros_like(phase)
    for _ in range(rounds):
        rebuilt = analyse(synthesise(magnitude * phase))
        phase = rebuilt - before * (momentum / (1 + momentum))
        phase, before = phase / (phase.abs() + 1e-9), rebuilt
    return synthesise(magnitude * phase)


def griffin_lim_forge(rng: np.random.Generator, bands: int | None, device: torch.device) -> Forge:
    """Griffin-Lim with settings drawn anew for every batch; of mel spectra where `bands` is given."""

    def forge(wave: Tensor) -> Tensor:
        size = int(rng.choice([800, 1024] if bands else [400, 512, 800, 1024]))
        rounds = int(rng.choice([16, 32] if bands else [6, 16, 32, 60]))
        momentum = 0.99 if bands else float(rng.choice([0.0, 0.5, 0.99]))
        filters = mel_filters(size, bands).to(device) if bands else None
        return griffin_lim(wave, size, rounds, momentum, filters)

    return forge


@torch.no_grad()
def make_copies(
    forge: Forge, wave: Tensor, rows: list[Stretch], device: torch.device, width: int = 400 * RATE
) -> list[NDArray[np.int16]]:
    """A copy of every row at its own level and length, in batches of at most `width` samples of similar lengths.

    Args:
        forge: what makes the copies.
        wave: (N,) int16, all speech.
        rows: which stretches of it.
        device: where `forge` works.
        width: what a batch may hold; lower it where the device's memory is short.

    Returns:
        As many arrays as rows, (length,) int16.
    """
    made: dict[int, NDArray[np.int16]] = {}
    for numbers in _batches([row.length for row in rows], width):
        longest = max(rows[number].length for number in numbers)
        batch = torch.zeros(len(numbers), longest + -longest % STEP, device=device)
        for line, number in zip(batch, numbers, strict=True):
            row = rows[number]
            line[: row.length] = wave[row.offset : row.offset + row.length].to(device).float() / 32768
        for line, copy, number in zip(batch, forge(batch).float(), numbers, strict=True):
            length = rows[number].length
            copy = F.pad(copy[:length], (0, max(0, length - len(copy))))
            level = line[:length].square().mean().sqrt() / (copy.square().mean().sqrt() + 1e-6)
            copy = (copy * level.clamp(max=4)).clamp(-1, 1)
            made[number] = (copy * 32767).round().short().cpu().numpy()
    return [made[number] for number in range(len(rows))]


def _batches(lengths: list[int], width: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > width:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def main() -> None:
    """Read the command line and forge one set per attack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path, help="speech.npy and speech.json without their suffix")
    parser.add_argument("--out", type=Path, required=True, help="folder of forged sets")
    parser.add_argument("--hifigan", type=Path, help="npz of a HiFi-GAN generator; see README.md")
    parser.add_argument("--vocoder", type=Path, nargs="*", default=[], help="weight files of own vocoders")
    parser.add_argument(
        "--share", type=float, default=0.5, help="of the training utterances, for each attack"
    )
    parser.add_argument("--seconds-per-batch", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng, device = np.random.default_rng(options.seed), torch.device(options.device)
    forges: dict[str, Forge] = {
        "griffin_lim": griffin_lim_forge(rng, None, device),
        "griffin_lim_mel": griffin_lim_forge(rng, 80, device),
    }
    if options.hifigan:
        forges["hifigan"] = HifiGan(options.hifigan, device)
    forges.update(load_vocoder(path, device) for path in options.vocoder)
    wave, rows = read_speech(options.speech)
    for name, forge in forges.items():
        taken = [
            row for row in rows if row.part == "dev" or (row.part == "train" and rng.random() < options.share)
        ]
        copies = make_copies(forge, wave, taken, device, options.seconds_per_batch * RATE)
        write_speech(options.out / name, zip(copies, taken, strict=True))
        print(f"{name}: {len(taken)} copies", flush=True)


if __name__ == "__main__":
    main()
