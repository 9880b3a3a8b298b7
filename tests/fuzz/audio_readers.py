"""Readers of audio, by the library that opens it."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

from molex_adapt.data import Channels
from molex_adapt.data.audio import decode, stated_seconds
from tests.fuzz.reader import Reader, of_file
from tests.fuzz.strategies import damaged


def _sounds() -> dict[str, list[bytes]]:
    wave = np.sin(np.arange(4000) / 9).astype(np.float32) / 2
    stereo = np.stack([wave, -wave], axis=1)
    found: dict[str, list[bytes]] = {"wav": [], "compressed": [], "other": []}
    kinds = [
        ("wav", "WAV", "PCM_16"), ("wav", "WAV", "FLOAT"), ("wav", "WAV", "ULAW"), ("wav", "WAVEX", "PCM_24"),
        ("wav", "WAV", "IMA_ADPCM"), ("wav", "W64", "PCM_16"), ("wav", "RF64", "PCM_16"),
        ("compressed", "FLAC", "PCM_16"), ("compressed", "OGG", "VORBIS"), ("compressed", "OGG", "OPUS"),
        ("compressed", "MP3", "MPEG_LAYER_III"),
        ("other", "AIFF", "PCM_16"), ("other", "AU", "PCM_16"), ("other", "CAF", "PCM_16"), ("other", "VOC", "PCM_16"),
        ("other", "NIST", "PCM_16"),
    ]  # fmt: skip
    for group, container, subtype in kinds:
        sink = io.BytesIO()
        soundfile.write(
            sink, stereo if container == "WAVEX" else wave, 16_000, format=container, subtype=subtype
        )
        found[group].append(sink.getvalue())
    return found


def _coded() -> list[bytes]:
    """Containers that only FFmpeg reads."""
    import av

    wave = (np.sin(np.arange(8000) / 9) * 9000).astype(np.int16)[None]
    found = []
    for container, codec in (
        ("mp4", "aac"),
        ("matroska", "pcm_s16le"),
        ("mov", "alac"),
        ("asf", "wmav2"),
        ("adts", "aac"),
    ):
        sink = io.BytesIO()
        with av.open(sink, "w", format=container) as output:
            stream = output.add_stream(codec, rate=16_000)
            stream.layout, stream.bit_rate = "mono", 32_000
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.sample_rate = 16_000
            frame.time_base, frame.pts = Fraction(1, 16_000), 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
        found.append(sink.getvalue())
    return found


def _use_audio(path: Path) -> None:
    stated_seconds(path)
    channels = Channels()
    wave = decode(path, duration=60, channels=channels)
    channels.fault()
    assert all(channels.notes.values())
    assert wave.dtype == np.float32 and wave.ndim == 1 and len(wave)
    assert np.isfinite(wave).all() and np.abs(wave).max() <= 1


def audio(group: str) -> Callable[[Path], Reader]:
    """Audio of that group."""

    def make(folder: Path) -> Reader:
        seeds = _coded() if group == "ffmpeg" else _sounds()[group]
        return of_file(folder, "a.wav", damaged(seeds), _use_audio)

    return make


def joined(folder: Path) -> Reader:
    """Files behind files, of the same kind and of others."""
    every = [sound for group in _sounds().values() for sound in group] + _coded()
    seeds = [sound + sound for sound in every] + [a + b for a, b in pairwise(every)]
    return of_file(folder, "a.wav", damaged(seeds), _use_audio)


def raw(folder: Path) -> Reader:
    """Audio without a header."""
    data = bytes(range(256)) * 6
    suffix = st.sampled_from([".g722", ".gsm", ".ulaw", ".alaw", ".amr", ".raw", ".mp3", ".m3u8", ".wav"])
    inputs = st.tuples(
        suffix, damaged([data, b"#!AMR\n" + data, b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\n"])
    )
    path = folder / "a"

    def place(given: tuple[str, bytes]) -> None:
        path.with_suffix(given[0]).write_bytes(given[1])

    return Reader(inputs, place, lambda given: _use_audio(path.with_suffix(given[0])))
