"""Small speech-like sounds and files in every container that the tests need, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float32]


def _voice(seconds: float = 1.0, seed: int = 0, rate: int = 16_000) -> Sound:
    """Harmonics of a gliding pitch under a syllable-like envelope, with a little noise; another per seed."""
    return _drawn(seconds, seed, rate).copy()


@cache
def _drawn(seconds: float, seed: int, rate: int) -> Sound:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(110 + 30 * rng.random() + 20 * np.sin(2 * np.pi * 2 * time)) / rate
    tone = sum(np.sin(k * phase + rng.random()) / k for k in range(1, 9))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time + rng.random())
    return (0.15 * tone * envelope + 0.002 * rng.standard_normal(len(time))).astype(np.float32)


def _write(path: Path, wave: Sound | None = None, rate: int = 16_000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, _voice() if wave is None else wave, rate, subtype=subtype)
    return path


def _encode(path: Path, codec: str, wave: Sound, rate: int = 16_000, container: str | None = None) -> Path:
    """Write `wave` (16 kHz) with a codec that only PyAV has."""
    import av

    whole = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
    whole.sample_rate = 16_000
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for frame in resampler.resample(whole) + resampler.resample(None):
            frame.pts = None
            fifo.write(frame)
        position = 0
        while frame := fifo.read(stream.codec_context.frame_size or 320, partial=True):
            frame.pts = position
            position += frame.samples
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture
def voice() -> Callable[..., Sound]:
    return _voice


@pytest.fixture
def write() -> Callable[..., Path]:
    return _write


@pytest.fixture
def encode() -> Callable[..., Path]:
    return _encode


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """bonafide/ and spoof/{world,opus}/ with three recordings, each class and attack sounding different."""
    root = tmp_path / "tree"
    for index in range(3):
        for place, folder in enumerate(("bonafide", "spoof/world", "spoof/opus")):
            _write(root / folder / f"{index}.wav", _voice(0.6, seed=10 * index + place))
    return root


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest, and the audio files (empty) that it may name."""
    for name in ("a.wav", "b.wav", "bonafide/a.wav", "spoof/world/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def make(text: str | bytes, name: str = "m.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make
