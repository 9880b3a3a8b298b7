"""Long-term statistics of power: single bins, bands, cepstra and how they change.

Shapes: B recordings, N frames.

Source: linear-frequency cepstra with differences as in the baselines of ASVspoof 2019 and later, and long-term
statistics of single bins as in Muckenhirn et al. (IEEE/ACM TASLP 25(11), 2017); the set is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.low_level.frames import deviation, in_a_row, mean, triangles

_BANDS, _CEPSTRA = 64, 40


def width(bins: int) -> int:
    """Mean and deviation of every bin and band, deviation of cepstra and of their first and second differences."""
    return 2 * (bins + _BANDS) + 3 * _CEPSTRA


def statistics(bins: Tensor, mask: Tensor, bands: Tensor, cosines: Tensor) -> Tensor:
    """(B, `width`) from log power (B, N, bins) and (B, N) frames that count."""
    banded = (bins.exp() @ bands.T).log()
    cepstra = banded @ cosines.T
    parts = [mean(bins, mask), deviation(bins, mask), mean(banded, mask), deviation(banded, mask)]
    for _ in range(3):
        parts.append(deviation(cepstra, mask))
        cepstra, mask = cepstra[:, 2:] - cepstra[:, :-2], in_a_row(mask)
    return torch.cat(parts, dim=1)


def bands(bins: int) -> Tensor:
    """(bands, bins)."""
    return torch.from_numpy(triangles(_BANDS, bins))


def cosines() -> Tensor:
    """(cepstra, bands): the first rows of the orthonormal cosine transform."""
    from scipy.fft import dct

    rows: NDArray[np.float64] = dct(np.eye(_BANDS), axis=0, norm="ortho")[:_CEPSTRA]
    return torch.from_numpy(rows.astype(np.float32))
