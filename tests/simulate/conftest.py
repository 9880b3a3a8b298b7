"""Speech-like sounds: pulses and noise through formants, with pauses; and folders and tables of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

from molex_adapt.conventions import BONA_FIDE
from molex_adapt.data.table import Table, Utterance

Wave = NDArray[np.float32]


def make_speech(seed: int, seconds: float = 1.2) -> Wave:
    rng = np.random.default_rng(seed)
    total = round(seconds * 16_000)
    pitch = rng.uniform(95, 220) * (1 + 0.1 * np.sin(2 * np.pi * 1.5 * np.arange(total) / 16_000))
    source = np.diff(np.floor(np.cumsum(pitch / 16_000)), prepend=0) + 0.01 * rng.standard_normal(total)
    for centre, width in (
        (rng.uniform(350, 800), 90),
        (rng.uniform(1100, 2100), 120),
        (2600, 160),
        (3500, 250),
        (5500, 600),
    ):
        radius = np.exp(-np.pi * width / 16_000)
        source = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * centre / 16_000), radius**2], source)
    syllables = np.clip(
        np.sin(2 * np.pi * 2.5 * np.arange(total) / 16_000 + rng.uniform(0, 1)) + 0.4, 0.003, None
    )
    wave = source * syllables + 1e-4 * rng.standard_normal(total)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture
def speech() -> Callable[..., Wave]:
    return make_speech


@pytest.fixture
def recordings(tmp_path: Path) -> Table:
    """Six recordings by two speakers, each with a text."""
    rows = []
    for number in range(6):
        path = tmp_path / "speech" / f"speaker{number % 2}" / f"take{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, make_speech(number, 0.8 + 0.1 * number), 16_000)
        source = path.relative_to(tmp_path / "speech").with_suffix("").as_posix()
        rows.append(Utterance(path, BONA_FIDE, source=source, speaker=path.parent.name, text="Hello there."))
    return Table(tuple(rows), str(tmp_path / "speech"))
