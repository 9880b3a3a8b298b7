"""Waveforms to the statistics of the low-level view.

Shapes: B recordings, T samples, N frames of 10 ms, S statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molex_adapt.low_level import phases, power, residual
from molex_adapt.low_level.frames import active, mean

_SIZE, _WINDOW, _HOP = 512, 400, 160
_BINS = _SIZE // 2 + 1
_EDGE = (_SIZE - _WINDOW) // 2
"""Samples of a frame on either side of the window."""
POWER = power.width(_BINS)
"""The statistics of power alone, which come first."""
STATISTICS = POWER + phases.WIDTH + residual.WIDTH
"""S: of power, phases and residual."""
SHORTEST = _SIZE
"""Samples of one frame."""
_FLOOR = 1e-6
"""-60 dB below the mean power of the recording: what is below is rounding, or what a codec left out."""


class Spectrum(nn.Module):
    """Waveforms to statistics of their spectra. Nothing is trained, and the level has no influence.

    Attributes:
        width: S, or those of power alone: all that readouts read that were learnt before there were others.
    """

    def __init__(self, width: int = STATISTICS) -> None:
        super().__init__()
        self.width = width
        along_time, along_frequency = phases.bands_of(_BINS)
        for name, values in (
            ("window", torch.hann_window(_WINDOW)),
            ("bands", power.bands(_BINS)),
            ("cosines", power.cosines()),
            ("along_time", along_time),
            ("along_frequency", along_frequency),
        ):
            self.register_buffer(name, values, persistent=False)

    window: Tensor
    bands: Tensor
    cosines: Tensor
    along_time: Tensor
    along_frequency: Tensor

    @torch.no_grad()
    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) float32 zero-padded and (B,) valid samples to (B, width) float32.

        A recording of fewer than 512 samples is heard with silence behind it.
        """
        wave = nn.functional.pad(wave.float(), (0, max(0, _SIZE - wave.shape[1])))
        counts = 1 + (lengths.to(wave.device).clamp(min=_SIZE) - _SIZE) // _HOP
        most = int(counts.max())
        valid = torch.arange(most, device=wave.device)[None] < counts[:, None]
        return self._of(wave[:, : _SIZE + _HOP * (most - 1)], valid)

    @torch.no_grad()
    def unpadded(self, wave: Tensor) -> Tensor:
        """The same of (B, T) whole rows, T at least `SHORTEST`, without a step that depends on their values."""
        frames = wave.unfold(1, _SIZE, _HOP)[..., 0]
        return self._of(wave, torch.ones_like(frames, dtype=torch.bool))

    def _of(self, wave: Tensor, valid: Tensor) -> Tensor:
        """(B, T) and (B, N) bool to (B, width)."""
        whole = torch.stft(wave, _SIZE, _HOP, _WINDOW, self.window, center=False, return_complex=True)
        real, imaginary = torch.view_as_real(whole).transpose(1, 2).unbind(3)
        squares = real.square().addcmul(imaginary, imaginary)
        level = mean(squares.mean(2, keepdim=True), valid)[..., None] + 1e-12
        bins = (squares / level + _FLOOR).log()
        mask = active(bins, valid)
        found = [power.statistics(bins, mask, self.bands, self.cosines)]
        if self.width > POWER:
            bands = self.along_time, self.along_frequency
            found.append(phases.statistics(real, imaginary, _FLOOR * level, mask, bands))
            frames = wave.unfold(1, _SIZE, _HOP)[..., _EDGE : _EDGE + _WINDOW]
            # The mean power of a windowed frame's bins is the sum of its squares.
            loudness = (level / self.window.square().sum()).sqrt()
            found.append(residual.statistics(frames / loudness, self.window, mask))
        return torch.cat(found, dim=1)
