"""How steadily phases turn, from one frame to the next and from one frequency to the next.

A steady tone turns by the same angle in every frame, and a single pulse by the same angle in every bin: the second
difference of the phase is zero along time or along frequency. Who makes speech from magnitudes, or frame by frame,
does not reproduce that as a larynx does.

Shapes: B recordings, N frames, K bands.

Source: own; the second differences are those of instantaneous frequency and group delay. That phase tells synthetic
speech is known since De Leon et al. (ICASSP 2011) and Sanchez et al. (IEEE TIFS 10(4), 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor

from molex_adapt.low_level.frames import in_a_row, mean, triangles

_BANDS = 40
WIDTH = 2 * _BANDS
"""Mean cosine of the second difference along time and along frequency, by band."""


def bands_of(bins: int) -> tuple[Tensor, Tensor]:
    """(K, bins) for differences along time, and (K, bins - 2) along frequency, where the outermost bins have none."""
    whole = torch.from_numpy(triangles(_BANDS, bins))
    inner = whole[:, 1:-1]
    return whole, inner / inner.sum(1, keepdim=True)


def statistics(
    real: Tensor, imaginary: Tensor, floor: Tensor, mask: Tensor, bands: tuple[Tensor, Tensor]
) -> Tensor:
    """(B, `WIDTH`) from (B, N, bins) spectra, power (B, 1, 1) below which phases count little, and (B, N) frames."""
    over_size = (real.square().addcmul_(imaginary, imaginary) + floor).rsqrt_()
    real, imaginary = real * over_size, imaginary * over_size
    turns = _steadiness(real.transpose(1, 2), imaginary.transpose(1, 2)).transpose(1, 2)
    along_time, along_frequency = turns @ bands[0].T, _steadiness(real, imaginary) @ bands[1].T
    return torch.cat([mean(along_time, in_a_row(mask)), mean(along_frequency, mask)], dim=1)


def _steadiness(real: Tensor, imaginary: Tensor) -> Tensor:
    """Cosine of the second difference of phases along the last dimension, two shorter there; 0 without power."""
    (real, after_real), (imaginary, after_imaginary) = _neighbours(real), _neighbours(imaginary)
    along = (real * after_real).addcmul_(imaginary, after_imaginary)
    across = (real * after_imaginary).addcmul_(imaginary, after_real, value=-1)
    (along, after_along), (across, after_across) = _neighbours(along), _neighbours(across)
    return (along * after_along).addcmul_(across, after_across)


def _neighbours(values: Tensor) -> tuple[Tensor, Tensor]:
    """All but the last along the last dimension, and those that follow them."""
    return values[..., :-1], values[..., 1:]
