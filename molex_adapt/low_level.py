"""The low-level view: what the spectrum says of a recording, beside the SSL model's states.

Vocoders and codecs leave traces that a speech model was trained to overlook: in single frequencies, in how they
vary, in what lies between the harmonics. Fixed statistics of the spectrum keep them; `readout` learns from them.

Shapes: B recordings, T samples, N frames of 10 ms, S statistics.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_SIZE, _WINDOW, _HOP = 512, 400, 160
_BINS, _BANDS, _CEPSTRA = _SIZE // 2 + 1, 64, 40
STATISTICS = 2 * (_BINS + _BANDS) + 3 * _CEPSTRA
"""S: mean and deviation of every bin and band, deviation of cepstra and of their first and second differences."""
SHORTEST = _SIZE
"""Samples of one spectrum."""
_FLOOR = 1e-6
"""-60 dB below the mean power of the recording."""
_ACTIVE = 8.0
"""Frames count down to e^8 of power (35 dB) below the loud ones; pauses say more of the room than of the voice."""


class Spectrum(nn.Module):
    """Waveforms to statistics of their spectra. Nothing is trained, and the level has no influence.

    Source: linear-frequency cepstra with differences as in the baselines of ASVspoof 2019 and later, and long-term
    statistics of single bins as in Muckenhirn et al. (IEEE/ACM TASLP 25(11), 2017); the set is ours.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, values in (
            ("window", torch.hann_window(_WINDOW)),
            ("bands", torch.from_numpy(_triangles())),
            ("cosines", torch.from_numpy(_cosines())),
        ):
            self.register_buffer(name, values, persistent=False)

    @torch.no_grad()
    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) float32 zero-padded and (B,) valid samples to (B, S) float32.

        A recording of fewer than 512 samples is heard with silence behind it.
        """
        wave = nn.functional.pad(wave.float(), (0, max(0, _SIZE - wave.shape[1])))
        counts = 1 + (lengths.to(wave.device).clamp(min=_SIZE) - _SIZE) // _HOP
        power = self._power(wave)[:, : int(counts.max())]
        return self._of(power, torch.arange(power.shape[1], device=power.device)[None] < counts[:, None])

    @torch.no_grad()
    def unpadded(self, wave: Tensor) -> Tensor:
        """The same of (B, T) whole rows, T at least `SHORTEST`, without a step that depends on their values."""
        power = self._power(wave)
        return self._of(power, torch.ones_like(power[..., 0], dtype=torch.bool))

    def _power(self, wave: Tensor) -> Tensor:
        """(B, N, bins) of (B, T)."""
        window = cast(Tensor, self.window)
        whole = torch.stft(wave, _SIZE, _HOP, _WINDOW, window, center=False, return_complex=True)
        return whole.abs().square().transpose(1, 2)

    def _of(self, power: Tensor, valid: Tensor) -> Tensor:
        """(B, N, bins) and (B, N) bool to (B, S)."""
        mean = _mean(power.mean(2, keepdim=True), valid)[..., None]
        bins = (power / (mean + 1e-12) + _FLOOR).log()
        active = _active(bins, valid)
        bands = (bins.exp() @ cast(Tensor, self.bands).T).log()
        cepstra = bands @ cast(Tensor, self.cosines).T
        parts = [
            _mean(bins, active),
            _deviation(bins, active),
            _mean(bands, active),
            _deviation(bands, active),
        ]
        for _ in range(3):
            parts.append(_deviation(cepstra, active))
            cepstra = cepstra[:, 2:] - cepstra[:, :-2]
            active = active[:, 2:] & active[:, 1:-1] & active[:, :-2]
        return torch.cat(parts, dim=1)


def _cosines() -> NDArray[np.float32]:
    """(cepstra, bands): the first rows of the orthonormal cosine transform."""
    from scipy.fft import dct

    rows: NDArray[np.float64] = dct(np.eye(_BANDS), axis=0, norm="ortho")[:_CEPSTRA]
    return rows.astype(np.float32)


def _triangles() -> NDArray[np.float32]:
    """(bands, bins): overlapping triangles, equally wide from 0 to 8 kHz, each of sum 1."""
    corners, bins = np.linspace(0, _BINS - 1, _BANDS + 2)[:, None], np.arange(_BINS)[None]
    low, top, high = corners[:-2], corners[1:-1], corners[2:]
    found = np.clip(np.minimum((bins - low) / (top - low), (high - bins) / (high - top)), 0, None)
    shares: NDArray[np.float32] = (found / found.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _active(bins: Tensor, valid: Tensor) -> Tensor:
    """(B, N): the frames that count, at least the loudest of every recording."""
    level = torch.logsumexp(bins, dim=2).masked_fill(~valid, -math.inf)
    falling = level.sort(dim=1, descending=True).values
    loud = falling.gather(1, (valid.sum(1, keepdim=True) - 1) // 20)
    return level >= loud - _ACTIVE


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, K) over the masked frames to (B, K); 0 where there are none."""
    # Not a product with the mask: frames of padding may hold what times 0 is no number.
    kept = values.masked_fill(~mask[..., None], 0.0)
    return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _deviation(values: Tensor, mask: Tensor) -> Tensor:
    centred = values - _mean(values, mask)[:, None]
    return _mean(centred.square(), mask).sqrt()
