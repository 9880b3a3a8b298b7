"""What an analysis keeps of each recording: some hundred bytes, whatever the corpus."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import torch

from molex_adapt.analysis import Corpus, conclude, corpus, observe
from molex_adapt.analysis.observe import Portion
from molex_adapt.data import Table, Utterance
from molex_adapt.metrics import resampling

FEW, MANY, AT_ONCE = 1000, 4000, 250
MOST_BYTES = 400
"""Of each further recording, beside the table: 250 are its row, names, place in the samples, and scores."""


def table_of(count: int) -> Table:
    kinds = (None, "buzz", None, "hum")
    rows = (
        Utterance(
            Path(f"speech/{at:06}.wav"),
            "spoof" if kinds[at % 4] else "bonafide",
            kinds[at % 4],
            source=f"s{at // 2}",
            condition=("opus", "none")[at // 4 % 2],
        )
        for at in range(count)
    )
    return Table(tuple(rows), "speech")


def test_memory_hardly_grows_with_the_recordings(detector_of, monkeypatch):
    monkeypatch.setattr(corpus, "PROFILED", 200)
    monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", 100_000)
    monkeypatch.setattr(resampling, "_WEIGHTS_AT_ONCE", 20_000)
    detector = detector_of()
    features, frames = torch.randn(AT_ONCE, 6, 16), torch.full((AT_ONCE,), 6)

    def analysed(table: Table) -> tuple[int, int]:
        """Most bytes that Python and NumPy held during the pass, and while it was concluded."""
        portions = (
            Portion(list(range(start, start + AT_ONCE)), features, frames, None)
            for start in range(0, len(table), AT_ONCE)
        )
        seen = observe(detector, Corpus.of_table(table), portions)
        observed = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        conclude(seen, Corpus.of_table(table), detector.mixture.names)
        return observed, tracemalloc.get_traced_memory()[1]

    def highest(count: int) -> tuple[int, int]:
        table = table_of(count)
        tracemalloc.start()
        try:
            return analysed(table)
        finally:
            tracemalloc.stop()

    analysed(table_of(AT_ONCE))  # libraries that are loaded at first use are no recording's
    few, many = highest(FEW), highest(MANY)
    for before, after in zip(few, many, strict=True):
        assert (after - before) / (MANY - FEW) < MOST_BYTES
