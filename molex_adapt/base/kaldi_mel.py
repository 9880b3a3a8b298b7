"""Kaldi's log-mel spectrum in torch, normalised per channel: on any device, each row of a batch as it is alone.

Source: transformers' SeamlessM4TFeatureExtractor, to which this is equal on one row.

Shapes: M mel frames of 10 ms, H mel channels.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank, window_function

from molex_adapt.base.frames import frame_mask, send
from molex_adapt.conventions import SAMPLE_RATE

WINDOW, HOP = 400, 160
"""Samples of a spectrum and between two spectra."""
_FFT = 512
_PRE_EMPHASIS = 0.97
_FULL_SCALE = 2.0**15
"""Kaldi reads samples as 16-bit integers."""
_LEAST_POWER = 2.0**-23


def mel_frames(lengths: Tensor) -> Tensor:
    """(B,) samples to (B,) whole windows, M."""
    return (lengths - WINDOW) // HOP + 1


def kaldi_mel(wave: Tensor, lengths: Tensor | None, channels: int) -> Tensor:
    """The log-mel spectrum with zero mean and unit variance in every channel of every row.

    Args:
        wave: (B, T) float32 at 16 kHz; what follows a row's valid samples is not heard.
        lengths: (B,) int64 valid samples on the CPU, each `WINDOW` + `HOP` or more; None where no row is padded.
        channels: H.

    Returns:
        (B, M, H) float32; padded frames hold values without meaning.
    """
    spectra = wave.to(_exact(wave.device)).unfold(1, WINDOW, HOP) * _FULL_SCALE
    spectra = spectra - spectra.mean(-1, keepdim=True)
    before = torch.cat([spectra[..., :1], spectra[..., :-1]], -1)
    spectra = (spectra - _PRE_EMPHASIS * before) * _window(wave.device)
    power = torch.fft.rfft(spectra, n=_FFT).abs().square()
    level = (power @ _filters(channels, wave.device)).clamp(min=_LEAST_POWER).log()
    return _standardised(level, None if lengths is None else mel_frames(lengths)).float()


def _standardised(level: Tensor, frames: Tensor | None) -> Tensor:
    valid = frame_mask(frames, level)[..., None]
    count = level.shape[1] if frames is None else send(frames, level.device)[:, None, None]
    mean = level.where(valid, 0).sum(1, keepdim=True) / count
    deviations = level - mean
    variance = deviations.where(valid, 0).square().sum(1, keepdim=True) / (count - 1)
    return deviations / (variance + 1e-7).sqrt()


def _exact(device: torch.device) -> torch.dtype:
    """float64, as in the original: a band without speech is 200 dB below one with, and is normalised like any other."""
    return torch.float32 if device.type == "mps" else torch.float64  # Apple's cards have none


@cache
def _window(device: torch.device) -> Tensor:
    return torch.from_numpy(window_function(WINDOW, "povey", periodic=False)).to(device, _exact(device))


@cache
def _filters(channels: int, device: torch.device) -> Tensor:
    """(257, H) of Kaldi's triangles."""
    filters = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=channels,
        min_frequency=20.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(filters).to(device, _exact(device))
