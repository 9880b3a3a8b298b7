"""Mel spectra, resampling by FFT and half-precision weight files: what the steps share.

Shapes: B batch, T samples, F frames. Waves are 16 kHz unless a function says otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

RATE = 16_000
"""Hz."""


def hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale: linear to 1 kHz, logarithmic above. Source: Slaney's Auditory Toolbox (1998)."""
    return np.where(
        hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1e-9) / 1000) / np.log(6.4)
    )


def mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `hertz_to_mel`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


def mel_filters(size: int, bands: int, rate: int = RATE, highest: float | None = None) -> Tensor:
    """Triangular filters of equal area, (bands, size // 2 + 1), up to `highest` Hz (half the rate by default)."""
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(highest or rate / 2)), bands + 2))
    bins = np.linspace(0, rate / 2, size // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    slopes = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return torch.from_numpy((np.clip(slopes, 0, None) * 2 / (high - low)).astype(np.float32))


class LogMel(nn.Module):
    """Natural logarithm of the mel magnitude, (B, T) to (B, bands, T // hop); padded as HiFi-GAN pads."""

    def __init__(
        self, size: int, hop: int, bands: int = 80, rate: int = RATE, highest: float | None = None
    ) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("filters", mel_filters(size, bands, rate, highest), persistent=False)
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        pad = (self.size - self.hop) // 2
        padded = F.pad(wave[:, None].float(), (pad, pad), mode="reflect")[:, 0]
        spectrum = torch.stft(
            padded, self.size, self.hop, window=self.window, center=False, return_complex=True
        )
        magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        return torch.log(torch.clamp(self.filters @ magnitude, min=1e-5))


def resample_by_fft(wave: Tensor, up: int, down: int) -> Tensor:
    """(B, T) to (B, T * up / down); T must be a multiple of `down`. The ends wrap around: pad them."""
    length = wave.shape[-1]
    new = length * up // down
    spectrum, bins = torch.fft.rfft(wave.float()), new // 2 + 1
    missing = max(0, bins - spectrum.shape[-1])
    return torch.fft.irfft(F.pad(spectrum[..., :bins], (0, missing)), new) * (new / length)


def pad_to_multiple(wave: Tensor, step: int) -> Tensor:
    """(B, T) with zeros behind, up to the next multiple of `step`."""
    return F.pad(wave, (0, -wave.shape[-1] % step))


def save_half(model: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a model's state in float16, with text about it in the header."""
    state = {name: tensor.detach().half().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata=metadata)


def load_half(model: nn.Module, path: Path) -> dict[str, str]:
    """Read what `save_half` wrote into `model`, every tensor of it and no other; returns the header's text.

    Raises:
        RuntimeError: torch's own, where names or shapes differ.
    """
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return read_metadata(path)


def read_metadata(path: Path) -> dict[str, str]:
    """The text in a weight file's header."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}
