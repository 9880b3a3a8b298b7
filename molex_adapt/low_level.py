"""The low-level view: what the spectrum says of a recording, beside the SSL model's states.

Vocoders and codecs leave traces that a speech model was trained to overlook: in single frequencies, in how they
vary, in what lies between the harmonics. Fixed statistics of the spectrum keep them, and a linear classifier over them
has a closed solution. It is kept as sums over all domains that it learnt. A further domain adds its own, so that the
solution is that of training on all domains at once.

Shapes: B recordings, T samples, N frames of 10 ms, S statistics.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molex_adapt.errors import MolexError

_SIZE, _WINDOW, _HOP = 512, 400, 160
_BINS, _BANDS, _CEPSTRA = _SIZE // 2 + 1, 64, 40
STATISTICS = 2 * (_BINS + _BANDS) + 3 * _CEPSTRA
"""S: mean and deviation of every bin and band, deviation of cepstra and of their first and second differences."""
_FLOOR = 1e-6
"""-60 dB below the mean power of the recording."""
_ACTIVE = 8.0
"""Frames count down to e^8 of power (35 dB) below the loud ones; pauses say more of the room than of the voice."""
_CLIP = 6.0
_RIDGE = 6.0
"""Divided by the number of recordings: with few, the solution stays near zero."""


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
        whole = torch.stft(
            wave,
            _SIZE,
            _HOP,
            _WINDOW,
            cast(Tensor, self.window),
            center=False,
            return_complex=True,
        )
        power = whole.abs().square().transpose(1, 2)[:, : int(counts.max())]
        valid = torch.arange(power.shape[1], device=power.device)[None] < counts[:, None]
        mean = _mean(power.mean(2, keepdim=True), valid)[..., None]
        bins = (power / (mean + 1e-12) + _FLOOR).log()
        active = _active(bins, valid, counts)
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


class LowLevelView(nn.Module):
    """A linear classifier of spectral statistics, solved by ridge regression from sums that are kept.

    Every domain has the same weight, and in it each class. Its part in the score is `share`; 0 until it has learnt.
    """

    centre: Tensor
    spread: Tensor
    sums: Tensor
    counts: Tensor
    weight: Tensor
    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum()
        size = STATISTICS + 1
        for name, values in (
            ("centre", torch.zeros(STATISTICS)),
            ("spread", torch.ones(STATISTICS)),
            ("sums", torch.zeros(size * (size + 1) // 2)),
            ("targets", torch.zeros(size)),
            ("counts", torch.zeros(2)),  # domains, and recordings in all of them
            ("weight", torch.zeros(size)),
            ("share", torch.zeros(1)),
        ):
            self.register_buffer(name, values)

    @property
    def has_learnt(self) -> bool:
        """Whether it knows a domain."""
        return bool(self.counts[0])

    def forward(self, statistics: Tensor) -> Tensor:
        """(B, S) to (B,), to be added to the logit of the SSL states. Rows without statistics (NaN) add nothing."""
        return self.share * self.evidence(statistics)

    def evidence(self, statistics: Tensor) -> Tensor:
        """(B, S) to (B,): near 1 for bona fide, near -1 for spoofed speech; 0 where the statistics are NaN."""
        return (self._standardised(statistics) @ self.weight).nan_to_num(0.0)

    @torch.no_grad()
    def learn(self, statistics: Tensor, bona_fide: Tensor) -> None:
        """Add a domain, (N, S) statistics and (N,) labels of its training split, and solve anew.

        The first one decides how statistics are standardised. Rows of NaN are passed over; a domain that lacks a class
        teaches nothing.

        Raises:
            MolexError: the sums that were kept of former domains cannot be solved.
        """
        known = ~statistics.isnan().any(1).cpu()
        given, real = statistics.cpu()[known].float(), bona_fide.cpu()[known]
        if bool(real.all()) or not bool(real.any()):
            return
        if not self.has_learnt:
            self.centre.copy_(given.mean(0))
            self.spread.copy_(given.std(0, unbiased=False).clamp(min=1e-3))
        rows = self._standardised(given).cpu().double()  # not every device has double precision
        weights = torch.where(real, 0.5 / real.sum(), 0.5 / (~real).sum()).double()
        above = _above()
        targets = cast(Tensor, self.targets)
        self.sums += (rows.T @ (rows * weights[:, None]))[above[0], above[1]].to(self.sums)
        targets += (rows.T @ (weights * torch.where(real, 1.0, -1.0).double())).to(targets)
        self.counts += torch.tensor([1.0, len(rows)]).to(self.counts)
        self._solve()

    def _solve(self) -> None:
        size, (domains, recordings) = STATISTICS + 1, self.counts.tolist()
        gram = torch.zeros(size, size, dtype=torch.float64)
        above = _above()
        gram[above[0], above[1]] = self.sums.cpu().double() / domains
        gram = gram + gram.triu(1).T
        penalty = torch.full((size,), _RIDGE / recordings, dtype=torch.float64)
        penalty[-1] = 1e-9  # the constant is not held back
        targets = cast(Tensor, self.targets).cpu().double() / domains
        factor, fault = torch.linalg.cholesky_ex(gram + penalty.diag())
        if fault:
            raise MolexError(
                "the low-level view cannot be solved: what the head keeps of former domains is not what recordings "
                "give. Restore head.safetensors from a copy, or roll back to an earlier generation"
            )
        self.weight.copy_(torch.cholesky_solve(targets[:, None], factor)[:, 0])

    def _standardised(self, statistics: Tensor) -> Tensor:
        """(B, S) to (B, S + 1), the last one constant."""
        rows = ((statistics.to(self.centre.device).float() - self.centre) / self.spread).clamp(-_CLIP, _CLIP)
        return nn.functional.pad(rows, (0, 1), value=1.0)


def _above() -> Tensor:
    return torch.triu_indices(STATISTICS + 1, STATISTICS + 1)


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


def _active(bins: Tensor, valid: Tensor, counts: Tensor) -> Tensor:
    """(B, N): the frames that count, at least the loudest of every recording."""
    level = torch.logsumexp(bins, dim=2).masked_fill(~valid, -math.inf)
    falling = level.sort(dim=1, descending=True).values
    loud = falling.gather(1, ((counts - 1) // 20)[:, None])
    return level >= loud - _ACTIVE


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, K) over the masked frames to (B, K); 0 where there are none."""
    # Not a product with the mask: frames of padding may hold what times 0 is no number.
    kept = values.masked_fill(~mask[..., None], 0.0)
    return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _deviation(values: Tensor, mask: Tensor) -> Tensor:
    centred = values - _mean(values, mask)[:, None]
    return _mean(centred.square(), mask).sqrt()
