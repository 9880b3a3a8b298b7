"""No network at all: statistics of LFCC under a logistic regression, and the probes that should find nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.sequence.domains import Measured
from benchmarks.sequence.methods.base import Known, Learnt, Scores, calibrated
from benchmarks.sequence.methods.state import State
from molex_adapt.calibration import Calibration
from molex_adapt.conventions import BONA_FIDE, SAMPLE_RATE, Split
from molex_adapt.data import decode
from molex_adapt.train.prepare import DomainData

_BANDS, _CEPSTRA = 64, 40  # as many as the low-level view has
PROBES = {
    "lfcc": slice(0, 4 * _CEPSTRA),  # mean and deviation of LFCC and of their differences
    "average_spectrum": slice(0, _CEPSTRA),  # mean of LFCC alone
    "duration": slice(4 * _CEPSTRA, 4 * _CEPSTRA + 1),
}
_known: dict[Path, np.ndarray] = {}


class Statistics:
    """Logistic regression on some of a recording's statistics.

    Args:
        probe: which of them, a key of `PROBES`.
        cumulative: keep every domain's vectors and fit on all; else on the last domain alone.
    """

    def __init__(self, probe: str, *, cumulative: bool) -> None:
        self.columns, self.cumulative = PROBES[probe], cumulative
        self.vectors: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.calibration = Calibration.identity()

    def learn(self, name: str, data: DomainData) -> Learnt:
        """Fit."""
        if not self.cumulative:
            self.vectors, self.labels = [], []
        vectors, labels = self._split(data, "train")
        self.vectors.append(vectors)
        self.labels.append(labels)
        self.model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        self.model.fit(np.concatenate(self.vectors), np.concatenate(self.labels))
        vectors, labels = self._split(data, "dev")
        found = self.model.decision_function(vectors)
        self.calibration = calibrated(found, torch.from_numpy(labels), self.calibration)
        stored = 4 * self.vectors[-1].size if self.cumulative else 0
        return Learnt(self.vectors[0].shape[1] + 1, stored, 0)

    def scores(self, measured: Measured) -> Scores:
        """Calibrated log odds."""
        vectors = np.stack([self._vector(path) for path in measured.paths])
        return self.calibration.apply(self.model.decision_function(vectors))

    def state(self) -> State:
        """Nothing: there is no chance in it, and everything follows from the recordings."""
        return {}

    def go_on(self, state: State, learnt: Known) -> None:
        """Fit to these domains again."""
        for name, data in learnt if self.cumulative else learnt[-1:]:
            self.learn(name, data)

    def _split(self, data: DomainData, split: Split) -> tuple[np.ndarray, np.ndarray]:
        rows = [row for row in data.table if row.split == split]
        vectors = np.stack([self._vector(row.path) for row in rows])
        return vectors, np.array([row.label == BONA_FIDE for row in rows])

    def _vector(self, path: Path) -> np.ndarray:
        if path not in _known:
            _known[path] = statistics_of(decode(path))
        found: np.ndarray = _known[path][self.columns]
        return found


def statistics_of(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """(161,): LFCC mean, deviation, difference mean and deviation, then log duration.

    The bands are equally wide, and reach to 8 kHz.
    """
    window = 400
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::160] * np.hamming(window)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = np.linspace(0, power.shape[1], _BANDS + 1).astype(int)
    bands = np.stack([power[:, low:high].sum(1) for low, high in itertools.pairwise(edges)], 1)
    cepstra = dct(np.log(bands + 1e-9), norm="ortho")[:, :_CEPSTRA]
    steps = np.diff(cepstra, axis=0) if len(cepstra) > 1 else np.zeros((1, _CEPSTRA))
    parts = [cepstra.mean(0), cepstra.std(0), steps.mean(0), steps.std(0), [np.log(len(wave) / SAMPLE_RATE)]]
    return np.concatenate(parts)
