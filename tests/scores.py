"""Scores that the tests of metrics measure."""

from __future__ import annotations

import numpy as np

# Without ties; its figures are worked out by hand, the Cllr in 40-digit arithmetic.
REAL = [2.1, 1.4, 0.9, -0.3, -0.75, 3.0]
FAKE = [-2.2, -1.7, -0.6, 0.2, 1.1, -3.1, -0.9]


def draw(seed, decimals=None):
    rng = np.random.default_rng(seed)
    real = rng.normal(rng.uniform(-1, 3), 1.3, rng.integers(1, 90))
    fake = rng.normal(-0.5, rng.uniform(0.3, 2), rng.integers(1, 90))
    return (real, fake) if decimals is None else (real.round(decimals), fake.round(decimals))
