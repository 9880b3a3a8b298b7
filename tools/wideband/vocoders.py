"""Own neural vocoders at 16 kHz: mel GAN, inverse STFT and a neural codec. Each copies a wave, (B, T) to (B, about T).

Shapes: B batch, T samples, F frames, D width. `adversarial.py` trains them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.wideband.spectra import LogMel, load_half, read_metadata

SLOPE = 0.1
"""Of every leaky rectifier."""


class ResidualStack(nn.Module):
    """Dilated convolutions, each followed by a pointwise one and added to its input; (B, D, F) to the same."""

    def __init__(self, width: int, dilations: tuple[int, ...] = (1, 3, 9), kernel: int = 3) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(width, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
            for dilation in dilations
        )
        self.pointwise = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in dilations)

    def forward(self, hidden: Tensor) -> Tensor:
        for dilated, pointwise in zip(self.dilated, self.pointwise, strict=True):
            inner = dilated(F.leaky_relu(hidden, SLOPE))
            hidden = hidden + pointwise(F.leaky_relu(inner, SLOPE))
        return hidden


class MelGan(nn.Module):
    """80 log-mel bands, upsampled 256-fold by transposed convolutions. T a multiple of 256.

    Source: own, after MelGAN (Kumar et al. 2019) and HiFi-GAN (Kong et al. 2020).
    """

    def __init__(self, width: int = 320) -> None:
        super().__init__()
        self.mel = LogMel(1024, 256)
        self.pre = nn.Conv1d(80, width, 7, padding=3)
        self.upsample, self.residual = nn.ModuleList(), nn.ModuleList()
        for rate in (8, 8, 2, 2):
            self.upsample.append(nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, padding=rate // 2))
            width //= 2
            self.residual.append(nn.Sequential(ResidualStack(width), ResidualStack(width, (1, 2, 5), 5)))
        self.post = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, wave: Tensor) -> Tensor:
        hidden = self.pre(self.mel(wave))
        for upsample, residual in zip(self.upsample, self.residual, strict=True):
            hidden = residual(upsample(F.leaky_relu(hidden, SLOPE)))
        return torch.tanh(self.post(F.leaky_relu(hidden, SLOPE)))[:, 0]


class ConvNextBlock(nn.Module):
    """Depthwise convolution and a wide pointwise layer, scaled and added; (B, D, F) to the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, inner), nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.full((width,), 0.15))

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.norm(self.depthwise(hidden).transpose(1, 2))
        return hidden + (self.scale * self.project(F.gelu(self.expand(normed)))).transpose(1, 2)


class InverseStft(nn.Module):
    """80 log-mel bands to the magnitudes and phases of an STFT of 40 ms by 10 ms. T a multiple of 160.

    Source: own, after Vocos (Siuzdak 2023).
    """

    size, hop = 640, 160

    def __init__(self, width: int = 256, inner: int = 768, layers: int = 6) -> None:
        super().__init__()
        self.mel = LogMel(self.size, self.hop)
        self.pre = nn.Conv1d(80, width, 7, padding=3)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.body = nn.Sequential(*[ConvNextBlock(width, inner) for _ in range(layers)])
        self.out = nn.Linear(width, self.size + 2)
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        hidden = self.norm_in(self.pre(self.mel(wave)).transpose(1, 2)).transpose(1, 2)
        hidden = self.out(self.norm_out(self.body(hidden).transpose(1, 2))).transpose(1, 2).float()
        magnitude, phase = hidden.chunk(2, 1)
        rotation = torch.complex(torch.cos(phase), torch.sin(phase))
        return self._overlap_add(torch.clamp(torch.exp(magnitude), max=1e2) * rotation)

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """(B, size / 2 + 1, F) to (B, F * hop): `torch.istft` cannot leave out the padding that the mel has."""
        frames = torch.fft.irfft(spectrum, self.size, dim=1) * self.window[:, None]
        squares = (self.window**2)[None, :, None].expand(1, -1, frames.shape[2]).contiguous()
        pad = (self.size - self.hop) // 2
        return (self._fold(frames) / self._fold(squares).clamp(min=1e-3))[:, pad:-pad]

    def _fold(self, frames: Tensor) -> Tensor:
        samples = (frames.shape[2] - 1) * self.hop + self.size
        return F.fold(frames, (1, samples), (1, self.size), stride=(1, self.hop))[:, 0, 0]


class ResidualQuantiser(nn.Module):
    """Each codebook quantises what the ones before left over; gradients pass straight through."""

    def __init__(self, width: int = 64, codes: int = 512, books: int = 8) -> None:
        super().__init__()
        self.books = nn.ParameterList(
            nn.Parameter(torch.randn(codes, width) * 0.3 * 0.7**book) for book in range(books)
        )

    def forward(self, latent: Tensor, used: int | None = None) -> tuple[Tensor, Tensor]:
        """(B, D, F) to its quantised copy by the first `used` books, and the loss of the books (scalar)."""
        rest = latent.transpose(1, 2)
        total, loss = torch.zeros_like(rest), latent.new_zeros(())
        for book in list(self.books)[:used]:
            with torch.no_grad():
                codes = book.float()[None].expand(len(rest), -1, -1)
                nearest = torch.cdist(rest.float(), codes).argmin(-1)
            chosen = book[nearest]
            loss = loss + F.mse_loss(chosen, rest.detach()) + 0.25 * F.mse_loss(rest, chosen.detach())
            if self.training and torch.rand(()) < 0.002:
                self._revive(book, nearest, rest.detach())
            total, rest = total + chosen, rest - chosen.detach()
        return latent + (total.transpose(1, 2) - latent).detach(), loss

    @torch.no_grad()
    def _revive(self, book: Tensor, nearest: Tensor, rest: Tensor) -> None:
        """Put vectors of this batch in the place of codes that it did not use."""
        used = torch.zeros(len(book), dtype=torch.bool, device=book.device)
        used[nearest.flatten()] = True
        dead, vectors = (~used).nonzero()[:, 0], rest.reshape(-1, rest.shape[-1])
        rows = torch.randint(len(vectors), (len(dead),), device=book.device)
        book.data[dead] = vectors[rows].to(book.dtype)


class Codec(nn.Module):
    """Convolutional coder at 50 frames a second with eight codebooks (4.5 kbit/s). T a multiple of 320.

    Source: own, after SoundStream (Zeghidour et al. 2021).
    """

    strides = (2, 4, 5, 8)

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        down: list[nn.Module] = [nn.Conv1d(1, width, 7, padding=3)]
        for rate in self.strides:
            kernel, pad = 2 * rate + rate % 2, (rate + rate % 2) // 2
            down += [ResidualStack(width), nn.LeakyReLU(SLOPE)]
            down += [nn.Conv1d(width, 2 * width, kernel, rate, padding=pad)]
            width *= 2
        self.encoder = nn.Sequential(*down, nn.LeakyReLU(SLOPE), nn.Conv1d(width, 64, 3, padding=1))
        self.quantiser = ResidualQuantiser()
        up: list[nn.Module] = [nn.Conv1d(64, width, 7, padding=3)]
        for rate in self.strides[::-1]:
            kernel, pad = 2 * rate + rate % 2, (rate + rate % 2) // 2
            up += [nn.LeakyReLU(SLOPE), nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=pad)]
            width //= 2
            up += [ResidualStack(width)]
        self.decoder = nn.Sequential(*up, nn.LeakyReLU(SLOPE), nn.Conv1d(width, 1, 7, padding=3))
        self.loss = torch.zeros(())

    def forward(self, wave: Tensor, books: int | None = None) -> Tensor:
        if self.training and books is None:
            books = int(torch.randint(3, 9, ()))  # so that a copy at a lower rate is heard as well
        latent, self.loss = self.quantiser(self.encoder(wave[:, None]), books)
        return torch.tanh(self.decoder(latent))[:, 0]


KINDS: dict[str, type[nn.Module]] = {"mel_gan": MelGan, "istft": InverseStft, "codec": Codec}
"""Vocoders by the name of the attack that they are."""


def load_vocoder(path: Path, device: torch.device) -> tuple[str, nn.Module]:
    """The kind and the model of a weight file, ready to copy waves."""
    kind = read_metadata(path)["kind"]
    model = KINDS[kind]()
    load_half(model, path)
    return kind, model.to(device).eval()
