"""Whisper's log-mel spectrum in torch: on any device, in batches in which every row gets what it gets alone.

Source: transformers' WhisperFeatureExtractor, to which this is equal on one row, and Radford et al. (arXiv 2212.04356).

Shapes: M mel frames of 10 ms, H mel channels.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from molex_adapt.base.frames import frame_mask, send
from molex_adapt.conventions import SAMPLE_RATE

WINDOW, HOP = 400, 160
"""Samples of a spectrum and between two spectra."""


def log_mel(wave: Tensor, lengths: Tensor | None, channels: int) -> tuple[Tensor, Tensor]:
    """The log-mel spectrum.

    Args:
        wave: (B, T) float32 at 16 kHz; what follows a row's valid samples is not heard.
        lengths: (B,) int64 valid samples on the CPU, each more than half a window; None where no row is padded.
        channels: H.

    Returns:
        (B, H, M), zero where padded, and (B, M) bool, true where valid.
    """
    spectrum = torch.stft(
        _mirrored(wave, lengths), WINDOW, HOP, window=_window(wave.device), center=False, return_complex=True
    )
    power = spectrum[..., :-1].abs().square()  # Whisper drops the last spectrum, which is mostly mirrored
    level = (_filters(channels, wave.device) @ power).clamp(min=1e-10).log10()
    valid = frame_mask(None if lengths is None else lengths // HOP, level.mT)
    # 80 dB below the peak at most. The peak is that of the row itself: what is padded may be louder.
    peak = level.masked_fill(~valid[:, None], -torch.inf).amax((1, 2), keepdim=True)
    scaled = (torch.maximum(level, peak - 8.0) + 4.0) / 4.0
    return scaled * valid[:, None], valid


def _mirrored(wave: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T + WINDOW): each row mirrored at its own two ends, not at the end of the batch."""
    if lengths is None:
        return F.pad(wave[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")[:, 0]
    longest, half = int(lengths.max()), WINDOW // 2
    at = torch.arange(-half, longest + half, device=wave.device).abs()[None]
    last = send(lengths, wave.device)[:, None] - 1
    mirrored = last - (at - last).abs()
    return wave.gather(1, mirrored.clamp(min=0))


@cache
def _window(device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, device=device)


@cache
def _filters(channels: int, device: torch.device) -> Tensor:
    """(H, WINDOW / 2 + 1) of Slaney's triangles."""
    filters = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=channels,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters.T).to(device, torch.float32).contiguous()
