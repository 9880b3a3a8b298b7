"""What simple means reach: LFCC statistics with logistic regression, duration alone, average spectrum alone.

    python -m benchmarks.probes

A domain that duration or the average spectrum solves is no evidence. Writes results/probes.json.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.workbench import RESULTS, demo_recipe, simulate_all
from molex_adapt.cli.progress import listening
from molex_adapt.conventions import BONA_FIDE, SAMPLE_RATE
from molex_adapt.data import Table, assign_splits, decode
from molex_adapt.metrics import measure

Features = NDArray[np.float64]


def main() -> None:
    """Fit and measure every probe on every domain."""
    with listening(False) as progress:
        tables = simulate_all(2, progress)
    demo = demo_recipe()
    heard = [item for item in tables[BONA_FIDE] if item.speaker != demo.held_out_speaker]
    split_of = {
        item.source: item.split for item in assign_splits(Table(tuple(heard), "speech"), seed=0, by="source")
    }
    described = {name: _describe(table) for name, table in tables.items()}
    found: dict[str, dict[str, Any]] = {}
    for name in demo.domains:
        parts = {}
        for split in ("train", "test"):
            rows = [
                (vector, item.label == BONA_FIDE, item.source)
                for key in (BONA_FIDE, name)
                for vector, item in zip(described[key], tables[key], strict=True)
                if split_of.get(item.source) == split and item.speaker != demo.held_out_speaker
            ]
            parts[split] = rows
        found[name] = {probe: _fit(parts, columns) for probe, columns in PROBES.items()}
        print(name, {probe: f"{100 * rates['eer']:.1f}" for probe, rates in found[name].items()}, flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "probes.json").write_text(json.dumps(found, indent=1) + "\n")


_CEPSTRA = 20
PROBES = {
    "lfcc": slice(0, 4 * _CEPSTRA),  # mean and deviation of LFCC and of their differences
    "average_spectrum": slice(0, _CEPSTRA),  # mean of LFCC alone
    "duration": slice(4 * _CEPSTRA, 4 * _CEPSTRA + 1),
}


def _describe(table: Table) -> list[Features]:
    return [statistics_of(decode(item.path)) for item in table]


def statistics_of(wave: NDArray[np.float32]) -> Features:
    """(81,): LFCC mean, deviation, difference mean and deviation, then log duration."""
    window = 400
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::160] * np.hamming(window)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = np.linspace(0, power.shape[1] // 2, 42).astype(int)  # linear bands up to 4 kHz
    bands = np.stack([power[:, low:high].sum(1) for low, high in itertools.pairwise(edges)], 1)
    cepstra = dct(np.log(bands + 1e-9), norm="ortho")[:, :_CEPSTRA]
    steps = np.diff(cepstra, axis=0) if len(cepstra) > 1 else np.zeros((1, _CEPSTRA))
    parts = [cepstra.mean(0), cepstra.std(0), steps.mean(0), steps.std(0), [np.log(len(wave) / SAMPLE_RATE)]]
    return np.concatenate(parts)


def _fit(parts: dict[str, list[Any]], columns: slice) -> dict[str, Any]:
    vectors = {split: np.stack([row[0][columns] for row in rows]) for split, rows in parts.items()}
    labels = {split: np.array([row[1] for row in rows]) for split, rows in parts.items()}
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(
        vectors["train"], labels["train"]
    )
    scores = model.decision_function(vectors["test"])
    return measure(scores[labels["test"]], scores[~labels["test"]]).as_dict()


if __name__ == "__main__":
    main()
