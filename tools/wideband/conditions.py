"""Random recording conditions on a device: rooms, noise, telephone bands, coarse codecs.

Every row goes through a chain of its own, and no function is told a row's class: what a condition leaves
behind cannot tell bona fide from spoofed. Shapes: B batch, T samples, at 16 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tools.wideband.spectra import RATE, hertz_to_mel, mel_to_hertz

EDGES = (8000.0, 7600.0, 7000.0, 6000.0, 5000.0, 4000.0, 3800.0, 3400.0)
"""Hz, upper ends of channels; the first is the whole band."""
G722_EDGE = 7000.0
"""Hz, where G.722 ends."""


class TransformCodec:
    """Quantise the MDCT more coarsely where it is weaker, as lossy codecs do, and drop what is far below the peak."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        bins, times = torch.arange(size, device=device).float(), torch.arange(2 * size, device=device).float()
        self.window = torch.sin(math.pi * (times + 0.5) / (2 * size))
        angles = math.pi / size * (times[:, None] + 0.5 + size / 2) * (bins[None] + 0.5)
        self.basis = torch.cos(angles) * math.sqrt(2 / size)
        hertz = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(RATE / 2)), 25))
        edges = np.unique(np.round(hertz / (RATE / 2) * size).astype(int))
        edges[-1] = size
        self.band = torch.from_numpy(np.repeat(np.arange(len(edges) - 1), np.diff(edges))).to(device)
        self.count = torch.bincount(self.band).float()

    def __call__(self, wave: Tensor, snr: Tensor, floor: Tensor) -> Tensor:
        """Code and decode.

        Args:
            wave: (B, T).
            snr: (B, 1) dB in the strongest band of a frame; a band 4 dB weaker gets 1 dB less.
            floor: (B, 1) dB; bands further than this below the strongest are dropped.

        Returns:
            (B, T).

        Source: own; MDCT with a sine window (Princen and Bradley 1986).
        """
        samples, size = wave.shape[1], self.size
        frames = F.pad(wave, (size, size + -samples % size)).unfold(1, 2 * size, size)
        lines = (frames * self.window) @ self.basis
        energy = torch.zeros(*lines.shape[:2], len(self.count), device=wave.device)
        energy = energy.index_add_(2, self.band, lines.square()) / self.count + 1e-12
        level = 10 * torch.log10(energy)
        below = level - level.amax(2, keepdim=True)
        # A uniform step of sqrt(12) = 3.46 times the wanted error's deviation makes an error of that deviation.
        step = energy.sqrt() * 10 ** (-(snr[:, :, None] + 0.25 * below) / 20) * 3.46
        step, drop = (part.index_select(2, self.band) for part in (step, below < floor[:, :, None]))
        lines = torch.where(drop, torch.zeros_like(lines), torch.round(lines / step) * step)
        pieces = (lines @ self.basis.T * self.window).transpose(1, 2)
        total = (1, (pieces.shape[2] + 1) * size)
        return F.fold(pieces, total, (1, 2 * size), stride=(1, size))[:, 0, 0, size : size + samples]


class Conditions:
    """Draws a chain for every row from torch's own generator of the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.codecs = [TransformCodec(size, device) for size in (128, 320, 512)]

    @torch.no_grad()
    def __call__(self, wave: Tensor, g722: Tensor | None = None) -> Tensor:
        """Record a batch again.

        Args:
            wave: (B, T) float32 in [-1, 1].
            g722: (B, 1) bool, rows whose source was coded by G.722, be they recordings or their copies; these lose
                what lies above its band, and most get noise like its own, so that its traces do not tell.

        Returns:
            (B, T) float32 in [-1, 1].
        """
        wave = self.set_level(wave.float())
        never = torch.zeros(len(wave), 1, dtype=torch.bool, device=self.device)
        coded = never if g722 is None else g722
        wave = self._maybe(wave, self._chance(wave, 0.22), self.reverberate)
        wave = self._maybe(wave, self._chance(wave, 0.35), self.add_noise)
        noisy = coded & self._chance(wave, 0.7)
        wave = self._maybe(wave, self._chance(wave, 0.06), self.clip)
        wave = self._maybe(wave, self._chance(wave, 0.15) | noisy, self.add_band_noise)
        wave = self._maybe(wave, self._chance(wave, 0.45), self.limit_band)
        wave = self._maybe(wave, self._chance(wave, 0.5), self.code)
        wave = self._maybe(wave, coded, lambda rows: self.limit_band(rows, G722_EDGE))
        return self._maybe(self.set_level(wave), self._chance(wave, 0.12), self.mu_law)

    def _uniform(self, wave: Tensor, low: float, high: float) -> Tensor:
        """(B, 1) in [low, high)."""
        return torch.rand(len(wave), 1, device=self.device) * (high - low) + low

    def _chance(self, wave: Tensor, probability: float) -> Tensor:
        return torch.rand(len(wave), 1, device=self.device) < probability

    def _maybe(self, wave: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """`wave` with some rows, (B, 1) bool, changed."""
        if not bool(rows.any()):
            return wave
        chosen, result = rows[:, 0].nonzero()[:, 0], wave.clone()
        result[chosen] = change(wave[chosen])
        return torch.nan_to_num(result)

    def set_level(self, wave: Tensor, low: float = -36, high: float = -14) -> Tensor:
        """A random RMS level in dB, lowered where the peak would exceed 1."""
        wave = wave * (10 ** (self._uniform(wave, low, high) / 20) / (_rms(wave) + 1e-5))
        return wave / wave.abs().amax(1, keepdim=True).clamp(min=1.0)

    def reverberate(self, wave: Tensor) -> Tensor:
        """Noise that decays by 60 dB in 0.08 to 0.5 s, 2 to 16 dB below the direct sound."""
        times = torch.arange(int(0.35 * RATE), device=self.device) / RATE
        decay = torch.exp(-times[None] * 6.9 / self._uniform(wave, 0.08, 0.5))
        room = torch.randn(len(wave), len(times), device=self.device) * decay
        room = room / (room.square().sum(1, keepdim=True).sqrt() + 1e-6)
        room = room * 10 ** (-self._uniform(wave, 2, 16) / 20)
        room[:, 0] = 1.0
        size = wave.shape[1] + len(times)
        wet = torch.fft.irfft(torch.fft.rfft(wave, size) * torch.fft.rfft(room, size), size)
        return wet[:, : wave.shape[1]]

    def add_noise(self, wave: Tensor) -> Tensor:
        """Noise between white and pink, or two random rows of the batch as babble, at 8 to 42 dB SNR."""
        spectrum = torch.fft.rfft(torch.randn(wave.shape, device=self.device))
        bins = torch.arange(spectrum.shape[1], device=self.device).float() + 20
        noise = torch.fft.irfft(spectrum * bins[None] ** (-self._uniform(wave, 0, 1.0)), wave.shape[1])
        # Rows at random: neighbours in a batch are often of one class, and their babble would tell it.
        first, second = (torch.randperm(len(wave), device=self.device) for _ in range(2))
        babble = wave[first] + 0.7 * wave[second]
        noise = torch.where(self._chance(wave, 0.3), babble, noise)
        noise = noise / (_rms(noise) + 1e-6)
        return wave + noise * _rms(wave) * 10 ** (-self._uniform(wave, 8, 42) / 20)

    def add_band_noise(self, wave: Tensor) -> Tensor:
        """Noise 14 to 28 dB below the signal around it in time and frequency, as adaptive PCM leaves behind."""
        window = torch.hann_window(128, device=self.device)
        spectrum = torch.stft(wave, 128, 64, window=window, return_complex=True)
        power = F.pad(spectrum.abs().square()[:, None], (1, 1, 4, 4), mode="replicate")
        around = F.avg_pool2d(power, (9, 3), 1)[:, 0].sqrt()
        size = torch.randn_like(around) * around * 10 ** (-self._uniform(wave, 14, 28) / 20)[:, :, None]
        phase = torch.rand_like(around) * 2 * math.pi
        noise = size * torch.complex(torch.cos(phase), torch.sin(phase))
        return torch.istft(spectrum + noise, 128, 64, window=window, length=wave.shape[1])

    def clip(self, wave: Tensor) -> Tensor:
        """Cut peaks at 1.5 to 5 times the RMS."""
        limit = _rms(wave) * self._uniform(wave, 1.5, 5.0)
        return torch.maximum(torch.minimum(wave, limit), -limit)

    def limit_band(self, wave: Tensor, highest: float = EDGES[0]) -> Tensor:
        """A channel from 0 to 350 Hz up to one of `EDGES`, at most `highest`, with slopes of 60 to 300 Hz."""
        hertz = torch.fft.rfftfreq(wave.shape[1], 1 / RATE, device=self.device)[None]
        edges = torch.tensor(EDGES, device=self.device).clamp(max=highest)
        high = edges[torch.randint(len(EDGES), (len(wave), 1), device=self.device)]
        low = torch.where(self._chance(wave, 0.5), self._uniform(wave, 0, 120), self._uniform(wave, 120, 350))
        low = low * ~self._chance(wave, 0.4)
        below = torch.sigmoid((high - hertz) / self._uniform(wave, 60, 300) * 6)
        below = torch.where(high < EDGES[0], below, torch.ones_like(hertz))
        above = torch.where(low > 0, torch.sigmoid((hertz - low) / 25), torch.ones_like(hertz))
        return torch.fft.irfft(torch.fft.rfft(wave) * below * above, wave.shape[1])

    def code(self, wave: Tensor) -> Tensor:
        """A transform codec at 3 to 22 dB SNR; one frame length for all rows."""
        codec = self.codecs[int(torch.randint(len(self.codecs), ()))]
        return codec(wave, self._uniform(wave, 3, 22), -self._uniform(wave, 35, 80))

    def mu_law(self, wave: Tensor) -> Tensor:
        """Eight bits with the mu-law. Source: ITU-T G.711."""
        bend = math.log(256.0)
        coded = torch.sign(wave) * torch.log1p(255 * wave.abs().clamp(max=1)) / bend
        coded = torch.round(coded * 127) / 127
        return torch.sign(coded) * (torch.exp(coded.abs() * bend) - 1) / 255


def _rms(wave: Tensor) -> Tensor:
    """(B, 1)."""
    return wave.square().mean(1, keepdim=True).sqrt()
