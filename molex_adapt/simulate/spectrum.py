"""Short-time spectra in both directions and mel filters, for the vocoders here.

Shapes: N samples of a frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molex_adapt.conventions import SAMPLE_RATE
from molex_adapt.simulate.attack import Wave

Spectrum = NDArray[np.complex64]
"""(F, n_fft / 2 + 1) complex64."""


def analyse(wave: Wave, n_fft: int, hop: int) -> Spectrum:
    """Short-time Fourier transform with a Hann window, centred frames, reflected ends: (T,) to (F, n_fft/2+1)."""
    from scipy.fft import rfft

    padded = np.pad(wave.astype(np.float32), n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.asarray(rfft(frames * _hann(n_fft), axis=1, overwrite_x=True), dtype=np.complex64)


def synthesise(spectrum: Spectrum, n_fft: int, hop: int, length: int) -> Wave:
    """Least-squares inverse of `analyse`: (F, n_fft/2+1) to (length,). `hop` must divide `n_fft`."""
    from scipy.fft import irfft

    frames = np.asarray(irfft(spectrum, n=n_fft, axis=1), dtype=np.float32)
    frames *= _hann(n_fft)
    wave = overlap_add(frames, hop) * _evening(len(frames), n_fft, hop)
    wave = wave[n_fft // 2 : n_fft // 2 + length]
    return np.pad(wave, (0, length - wave.size))


def overlap_add(frames: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """Sum (F, N) frames at steps of `hop`, which divides N: ((F - 1) * hop + N,)."""
    count, size = frames.shape
    steps = size // hop
    total = np.zeros((count - 1 + steps, hop), dtype=np.float32)
    for step in range(steps):
        total[step : step + count] += frames[:, step * hop : (step + 1) * hop]
    return total.reshape(-1)


@lru_cache(maxsize=2)  # Griffin-Lim asks for the same one in every round
def _evening(count: int, n_fft: int, hop: int) -> NDArray[np.float32]:
    """What undoes the overlap of `count` squared windows: ((count - 1) * hop + n_fft,)."""
    weight = overlap_add(np.broadcast_to(np.square(_hann(n_fft)), (count, n_fft)), hop)
    return np.asarray(1 / np.maximum(weight, 1e-6), dtype=np.float32)


@lru_cache(maxsize=8)
def mel_filters(n_fft: int, n_mels: int) -> NDArray[np.float32]:
    """Triangular filters, equal steps on Slaney's mel scale, 0 to 8 kHz, unit area: (n_mels, n_fft/2+1)."""
    edges = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None) * 2 / (high - low), dtype=np.float32)


def _hertz_to_mel(hertz: float) -> float:
    """Slaney's scale: linear below 1 kHz (15 mels), then 27 steps to every factor 6.4."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


@lru_cache(maxsize=8)
def _hann(size: int) -> NDArray[np.float32]:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), dtype=np.float32)
