"""What linear prediction leaves of each frame: how much it is, how peaked and how lopsided.

The residual of voiced speech is a train of pulses that lean to one side. Vocoders round them off or turn them over.

Shapes: B recordings, N frames, W samples of a frame, O the order.

Source: Levinson's recursion as in Makhoul (Proc. IEEE 63(4), 1975); moments of the residual as in glottal-source
features for spoofing; the set is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from molex_adapt.low_level.frames import deviation, in_a_row, mean

_ORDER = 16
_NOISE = 1e-4
"""Of white noise, -40 dB, before the prediction: a band without speech cannot be predicted."""
_TINY = 1e-9
_OF_FRAME = 3
WIDTH = 3 * _OF_FRAME
"""Mean, deviation and deviation of differences of skewness, log kurtosis and log gain of the prediction."""


def statistics(frames: Tensor, window: Tensor, mask: Tensor) -> Tensor:
    """(B, `WIDTH`) from frames (B, N, W) at one level, their window (W,), and (B, N) frames that count."""
    lags = _autocorrelation(frames * window)
    weights, left = _predictor(lags)
    length = frames.shape[2] - _ORDER
    residual = frames.narrow(2, _ORDER, length).clone()
    for lag in range(1, _ORDER + 1):
        residual.addcmul_(weights.narrow(2, lag, 1), frames.narrow(2, _ORDER - lag, length))
    values = torch.stack([*_shape(residual), (lags[..., 0] / left).log()], dim=2)
    changes = values[:, 2:] - values[:, :-2]
    return torch.cat([mean(values, mask), deviation(values, mask), deviation(changes, in_a_row(mask))], dim=1)


def _autocorrelation(frames: Tensor) -> Tensor:
    """(B, N, O + 1) of windowed frames, with a little noise."""
    length = frames.shape[2]
    lags = [
        (frames.narrow(2, 0, length - lag) * frames.narrow(2, lag, length - lag)).sum(2)
        for lag in range(_ORDER + 1)
    ]
    lags[0] = lags[0] * (1 + _NOISE) + _TINY
    return torch.stack(lags, dim=2)


def _predictor(lags: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, O + 1) weights of a frame's present and former samples in its residual, and the power (B, N) of that."""
    left, mirrored = lags.narrow(2, 0, 1), lags.flip(2)
    weights = torch.ones_like(left)
    for order in range(1, _ORDER + 1):
        ahead = (weights * mirrored.narrow(2, _ORDER - order, order)).sum(2, keepdim=True)
        reflection = ahead / left
        longer = F.pad(weights, (0, 1))
        weights = longer.addcmul(reflection, longer.flip(2), value=-1)
        left = left.addcmul(reflection, ahead, value=-1)
    return weights, left[..., 0]


def _shape(values: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and log kurtosis (B, N) of (B, N, samples)."""
    centred = values - values.mean(2, keepdim=True)
    square = centred.square()
    spread = square.mean(2) + _TINY
    skewness = (square * centred).mean(2) / (spread * spread.sqrt())
    return skewness, (square.square().mean(2) / spread.square() + 1e-3).log()
